/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * tcp_conn_request(ops, af_ops, sk, skb), softirq, at its return: the kernel dropped a SYN, since a queue of the listener was
 * full. It consumes the packet, so no tracepoint fires. Once for each SYN: only where drop events were asked
 * for.
 */
#ifdef ENTER_listener_dropped
int listener_dropped_enter(struct bpf_raw_tracepoint_args *ctx)
{
	return call_enter(ENTER_listener_dropped, ctx);
}
#endif

/* What a SYN that never became a request was dropped for; 0 where nobody can say. Another CPU may have filled a queue. */
static __always_inline u8 dropped_for(const struct listener *l, const void *sk)
{
	u32 backlog = GET(u32, sock, sk, OFF_SK_MAX_ACK_BACKLOG), zero = 0;
	u32 accepting = GET(u32, sock, sk, OFF_SK_ACK_BACKLOG);
	u32 *seen = request_seen.lookup(&zero);
	int known = seen && *seen;

	if (l->code == DROP_REQUEST_QUEUE_FULL)
		return known && accepting <= backlog ? l->code : 0;
	if (!l->cookies && requests_of(sk) >= backlog)
		return 0;
	return known || accepting > backlog ? l->code : 0;
}

int listener_dropped(struct bpf_raw_tracepoint_args *ctx)
{
	struct listener *l = listener_here();
	struct call call = {};
	const void *sk;
	u8 code;

	if (!CALL_listener_dropped(&call, ctx) || !l || l->skb != call.args[3])
		return 0;
	l->skb = 0;
	if (!l->code)
		return 0;
	sk = (const void *)l->sk;
	code = dropped_for(l, sk);
	if (code)
		listener_event(sk, (const void *)call.args[3], code,
			       code == DROP_ACCEPT_QUEUE_FULL ? l->accepting : l->requests, 0);
	return 0;
}
