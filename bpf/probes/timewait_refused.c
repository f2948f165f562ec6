/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * inet_twsk_alloc(sk, ...), seen at its return: NULL when there are tcp_max_tw_buckets timewait sockets, or no memory.
 * tcp_time_wait() then closes at once; ->CLOSE of sk follows on this CPU. Once per active close.
 */
#ifdef ENTER_timewait_refused
int timewait_refused_enter(struct bpf_raw_tracepoint_args *ctx)
{
	return call_enter(ENTER_timewait_refused, ctx);
}
#endif

int timewait_refused(struct bpf_raw_tracepoint_args *ctx)
{
	struct call call = {};
	struct conn *c;

	if (!CALL_timewait_refused(&call, ctx) || call.result)
		return 0;
	c = conn_open(call.args[0], FOR_END);
	if (c)
		c->flags |= F_TW_REFUSED;
	return 0;
}
