/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * timer:timer_expire_entry(timer, ...), softirq: tw_timer_handler ends a timewait socket, still hashed here. Its
 * substate says what ends, FIN_WAIT2 or TIME_WAIT. Every expiring timer of the host comes by: one compare.
 */
static __always_inline int on_timer_expire(struct bpf_raw_tracepoint_args *ctx)
{
	const void *tw = (const void *)(ctx->args[0] - OFF_TW_TIMER);
	u32 zero = 0;
	u64 *handler = learned.lookup(&zero);

	if (!handler || !*handler ||
	    GET(u64, timer_list, ctx->args[0], OFF_TIMER_FUNCTION) != *handler)
		return 0;
	if (tw_substate(tw) == TCP_FIN_WAIT2)
		tw_end(tw, END_TIMEOUT, TCP_CLOSE, 0, 0);
#ifdef WANT_TIMEWAITS
	else
		timewait_event(tw, TIMEWAIT_EXPIRED, 1);
#endif
	return 0;
}
