/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * tcp_check_req(sk, skb, req, fastopen, req_stolen, ...), softirq, seen at its return: what a listener makes of a segment for
 * a request, a connection whose handshake is not complete. It has no socket, so no tracepoint says how it ends.
 * It returns no socket and takes the request off its table where the segment ends it (embryonic_reset, counted as
 * EmbryonicRsts): a RST, a SYN, or the last ACK if no socket can be made, since the accept queue is full or for want of memory
 * or a route, and tcp_abort_on_overflow is set. If another CPU was faster it sets *req_stolen. If the handshake was complete
 * and the listener has gone (inet_csk_complete_hashdance) it listens no more. Of TCP Fast Open there is a socket. Once for
 * each segment of a handshake: only where drop events were asked for.
 */
#ifdef ENTER_request_reset
int request_reset_enter(struct bpf_raw_tracepoint_args *ctx)
{
	return call_enter(ENTER_request_reset, ctx);
}
#endif

int request_reset(struct bpf_raw_tracepoint_args *ctx)
{
	struct call call = {};
	const void *sk, *skb;
	u32 by = 0;
	u8 flags;

	if (!CALL_request_reset(&call, ctx) || call.result || (u8)call.args[3] ||
	    !unhashed((const void *)call.args[2]) || FIELD(u8, call.args[4], 0))
		return 0;
	sk = (const void *)call.args[0];
	skb = (const void *)call.args[1];
	flags = FIELD(u8, skb, OFF_SKB_CB + OFF_CB_TCP_FLAGS);
	if (flags & TCP_FLAG_RST)
		by = F_RST_IN;
	else if (flags & TCP_FLAG_SYN)
		by = F_SYN_HIT;
	else if (!FIELD(u8, FIELD(u64, sk, OFF_SKC_NET), OFF_SYSCTL_ABORT_ON_OVERFLOW) ||
		 GET(u8, sock_common, sk, OFF_SKC_STATE) != TCP_LISTEN)
		return 0;
	listener_event(sk, skb, DROP_EMBRYONIC_RESET, GET(u32, sock, sk, OFF_SK_ACK_BACKLOG), by);
	return 0;
}
