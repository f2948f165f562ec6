/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * tcp_timewait_state_process(tw, skb, th), softirq: what a timewait socket makes of each segment that meets it, seen at
 * its return. TCP_TW_RST is only known here before v6.10, where the RST of a timewait socket has no tracepoint; that of
 * FIN and RST makes kfree_skb superfluous. A timewait socket that a RST has taken down may be free by now, but not its
 * memory (SLAB_TYPESAFE_BY_RCU).
 */
#ifdef ENTER_timewait_packet
int timewait_packet_enter(struct bpf_raw_tracepoint_args *ctx)
{
	return call_enter(ENTER_timewait_packet, ctx);
}
#endif

int timewait_packet(struct bpf_raw_tracepoint_args *ctx)
{
	struct call call = {};
	const void *tw;
	u8 flags;

	if (!CALL_timewait_packet(&call, ctx))
		return 0;
	tw = (const void *)call.args[0];
	flags = FIELD(u8, call.args[1], OFF_SKB_CB + OFF_CB_TCP_FLAGS);
	if ((u32)call.result == TCP_TW_RST) {
#ifndef HAVE_RESET_REASON
		count(STAT_RST_TIMEWAIT);
		tw_end(tw, END_LATE_DATA, TCP_CLOSE, F_RST_REPLY, 0);
#endif
		return 0;
	}
	if (flags & TCP_FLAG_RST) {
		if (!unhashed(tw))
			return 0;
#ifdef WANT_TIMEWAITS
		timewait_event(tw, TIMEWAIT_KILLED_BY_RESET, 1);
#endif
		tw_end(tw, END_RST, TCP_CLOSE,
		       F_RST_ACK_KNOWN | (flags & TCP_FLAG_ACK ? F_RST_ACK : 0), 0);
	} else if (flags & TCP_FLAG_FIN && tw_substate(tw) == TCP_TIME_WAIT) {
#ifdef WANT_TIMEWAITS
		fin_event(tw);
#endif
		tw_end(tw, END_FIN, TCP_TIME_WAIT, 0, 0);
	}
	return 0;
}
