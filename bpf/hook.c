/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The programs of a raw tracepoint, behind each of their probes. ON is the function of the probe, PROGRAM the name of
 * the first program, SECOND of the second.
 *
 * Since Linux kernel commit 05b24ff9b2cf ("bpf: Prevent bpf program recursion for raw tracepoint probes") (in v6.1) the
 * kernel skips a program on a CPU on which that program is already running (the recursion guard). That is no recursion
 * of ours: a packet interrupts connect(), and the program would not see another connection that the packet ends; or,
 * where tracepoints can be preempted, another task runs. So a second program stands behind the first where that happens;
 * it runs if SKIPPED says that the kernel skipped the first one for this event. That takes a look at the history; almost
 * always the mark that the first one has just left here (EVENT, place.h) says the same for less. A mark is taken away when
 * it was seen, so that it cannot stand for a later event.
 */
int PROGRAM(struct bpf_raw_tracepoint_args *ctx)
{
#if defined(HAVE_GUARD) && defined(SKIPPED)
	event_seen(EVENT(ctx));
#endif
	return ON(ctx);
}

#if defined(HAVE_GUARD) && defined(SKIPPED)
int SECOND(struct bpf_raw_tracepoint_args *ctx)
{
	if (was_seen(EVENT(ctx)) || !SKIPPED(ctx))
		return 0;
	count(STAT_SECOND);
	return ON(ctx);
}
#endif
#undef SKIPPED
#undef EVENT
