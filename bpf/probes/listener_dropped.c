/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * tcp_conn_request(ops, af_ops, sk, skb), softirq, seen at its return: a SYN that a queue of the listener had no room for was
 * dropped. Its packet is consumed, so that no tracepoint tells of it. Once for each SYN: only where drop events were asked
 * for.
 */
#ifdef ENTER_listener_dropped
int listener_dropped_enter(struct bpf_raw_tracepoint_args *ctx)
{
	return call_enter(ENTER_listener_dropped, ctx);
}
#endif

int listener_dropped(struct bpf_raw_tracepoint_args *ctx)
{
	struct listener *l = listener_here();
	struct call call = {};
	u32 zero = 0, yes = 1;

	if (!CALL_listener_dropped(&call, ctx) || !l || l->skb != call.args[3])
		return 0;
	l->skb = 0;
	if (!l->code)
		return 0;
	if (l->at_limit)
		full_at_limit.update(&zero, &yes);
	listener_event((const void *)l->sk, (const void *)call.args[3], l->code, l->queued);
	return 0;
}
