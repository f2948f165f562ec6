/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The programs of a raw tracepoint, behind each of their probes. ON is the function of the probe, PROGRAM the name of
 * the program, AGAIN that of the second one.
 *
 * Since Linux kernel commit 05b24ff9b2cf ("bpf: Prevent bpf program recursion for raw tracepoint probes") (in v6.1) the
 * kernel leaves a program out while it runs on that CPU already. That is no recursion of ours: a packet interrupts
 * connect(), and another connection that it ends is not seen; or, where tracepoints can be preempted, another task
 * runs. So a second program stands behind the first where that happens; LEFT_OUT tells it whether the first one has
 * seen the event.
 */
int PROGRAM(struct bpf_raw_tracepoint_args *ctx)
{
	return ON(ctx);
}

#if defined(HAVE_GUARD) && defined(LEFT_OUT)
int AGAIN(struct bpf_raw_tracepoint_args *ctx)
{
	if (!LEFT_OUT(ctx))
		return 0;
	count(STAT_AGAIN);
	return ON(ctx);
}
#endif
#undef LEFT_OUT
