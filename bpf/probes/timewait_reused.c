/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * tcp_twsk_unique(sk, tw, twp), at its return: 1 when connect() may take the TIME_WAIT's place, which it does then
 * (__inet_check_established, __inet6_check_established). Runs in the process that connects; tw still has its tuple.
 * Without this probe a reuse shows when the new connection is established, if a program saw the TIME_WAIT begin.
 */
#ifdef ENTER_timewait_reused
int timewait_reused_enter(struct bpf_raw_tracepoint_args *ctx)
{
	return call_enter(ENTER_timewait_reused, ctx);
}
#endif

int timewait_reused(struct bpf_raw_tracepoint_args *ctx)
{
	struct call call = {};

	if (CALL_timewait_reused(&call, ctx) && (u32)call.result == 1)
		timewait_event((const void *)call.args[1], TIMEWAIT_REUSED_BY_CONNECT, 1);
	return 0;
}
