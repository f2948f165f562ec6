/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * skb:kfree_skb(skb, location[, reason[, rx_sk]]), softirq. Every packet that a timewait socket consumes ends here
 * (discard_it in tcp_v4_rcv, tcp_v6_rcv), which is the only witness of the FIN that ends FIN_WAIT2.
 */

static __always_inline int on_packet_drop(struct bpf_raw_tracepoint_args *ctx)
{
	const void *sk = (const void *)ctx->args[3];
	const void *skb = (const void *)ctx->args[0];
	u8 flags;

	if (!sk)
		return 0;
	if (GET(u8, sock_common, sk, OFF_SKC_STATE) != TCP_TIME_WAIT) {
#ifdef WANT_DROPS
		drop_event(sk, skb, ctx->args[2]);
#endif
		if (is_refusal(ctx->args[2]))
			segment_refused(sk, skb, ctx->args[2]);
		return 0;
	}
	flags = GET(u8, sk_buff, skb, OFF_SKB_CB + OFF_CB_TCP_FLAGS);
#ifdef WANT_DROPS
	if (ctx->args[2] == DROP_REASON_TW_PAWS)
		tw_drop_event(sk, skb, ctx->args[2]);
#endif
#ifdef WANT_TIMEWAITS
	if (flags & TCP_FLAG_RST && unhashed(sk))
		timewait_event(sk, TIMEWAIT_KILLED_BY_RESET, 1);
	else if (flags & TCP_FLAG_FIN && tw_substate(sk) == TCP_TIME_WAIT)
		fin_event(sk);
#endif
	if (flags & TCP_FLAG_RST) {
		if (unhashed(sk))
			tw_end(sk, END_RST, TCP_CLOSE,
			       F_RST_ACK_KNOWN | (flags & TCP_FLAG_ACK ? F_RST_ACK : 0), 0);
	} else if (flags & TCP_FLAG_FIN && tw_substate(sk) == TCP_TIME_WAIT) {
		tw_end(sk, END_FIN, TCP_TIME_WAIT, 0, 0);
	}
	return 0;
}
