/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * tcp:tcp_send_reset(sk, skb[, reason]). skb NULL: an active reset (tcp_send_active_reset), before ->CLOSE
 * when a timer or an administrator ends the connection, after it inside close(). skb set: the answer to that
 * segment; sk is then NULL, a listener, a request, a timewait socket or a full socket (only the last before v6.10,
 * tcp_v4_send_reset()).
 */
static __always_inline int on_reset_sent(struct bpf_raw_tracepoint_args *ctx)
{
	const void *sk = (const void *)ctx->args[0];
	u32 how = ctx->args[1] ? F_RST_REPLY : F_RST_OUT;
	u8 reason = 0, state = sk ? GET(u8, sock_common, sk, OFF_SKC_STATE) : TCP_LISTEN;
	struct close_record *r;
	struct conn *c;

#ifdef HAVE_RESET_REASON
	reason = ctx->args[2];
	how |= F_RST_REASON;
#endif
	if (state == TCP_LISTEN || state == TCP_NEW_SYN_RECV) {
		count(STAT_RST_NO_SOCKET);
		return 0;
	}
	if (state == TCP_TIME_WAIT) {
		count(STAT_RST_TIMEWAIT);
		tw_end(sk, END_LATE_DATA, TCP_CLOSE, how, reason);
		return 0;
	}
	count(STAT_RST_SOCKET);
	r = closed_at(closed_slot((u64)sk));
	if (r) {
		r->flags |= how;
		r->reset_reason = reason;
#ifdef HAVE_MPTCP
		subflow_resets(sk, 0);
#endif
		return 0;
	}
	if (rst_awaited(sk, how, reason))
		return 0;
	/* The answer to an unacceptable ACK while connecting ends nothing: the SYN is sent again. */
	if (state == TCP_SYN_SENT && how & F_RST_REPLY) {
#ifndef HAVE_RX_SK
		segment_refused(sk, (const void *)ctx->args[1], 0);
#endif
		return 0;
	}
	/* In CLOSE without a record: it closed before we attached, or we missed it. Do not open a new history. */
	c = state == TCP_CLOSE ? conn_find((u64)sk) : conn_open((u64)sk, FOR_END);
	if (c) {
		c->flags |= how | F_RST_EARLY;
		c->reset_reason = reason;
	}
#ifdef HAVE_MPTCP
	if (how & F_RST_OUT)
		subflow_resets(sk, c);
#endif
	return 0;
}
