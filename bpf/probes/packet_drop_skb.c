/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * skb:kfree_skb(skb, location[, reason]) where the kernel does not say which socket the packet met (before Linux
 * kernel commit c53795d48ee8 ("net: add rx_sk to trace_kfree_skb") (in v6.11)): the tuple is read from the packet.
 * Softirq. skb->dev is still set on the way through tcp_v4_rcv to a timewait socket, and taken away from what goes to
 * a full socket. Cannot see which full socket refused a packet, and nothing of that before tcp_drop_reason()
 * (Linux 5.18).
 */
/* include/linux/skbuff.h: the low bits of skb->_skb_refdst are flags. */
#define SKB_DST_PTRMASK (~7ull)

#ifdef WANT_TIMEWAITS
static __always_inline void timewait_met(const struct tuple *t, u8 flags)
{
	u64 key = tuple_key(t);
	struct tw_owner *c = tw_owners.lookup(&key);
	const void *tw = c ? (const void *)c->tw : 0;

	if (!tw)
		return;
	if (flags & TCP_FLAG_RST) {
		if (unhashed(tw))
			timewait_event_of(t, tw, TIMEWAIT_KILLED_BY_RESET, 1);
	} else if (flags & TCP_FLAG_FIN && tw_substate(tw) == TCP_TIME_WAIT && !unhashed(tw) &&
		   fin_again(t)) {
		timewait_event_of(t, tw, TIMEWAIT_REACKED, 0);
	}
}
#endif

/*
 * What the timewait socket made of a packet is seen from that socket: it is in TIME_WAIT now, or taken down. That it
 * was this packet that took it down is certain where the kernel tells a drop for want of a socket apart.
 */
static __always_inline void tw_met(const struct tuple *t, u8 flags)
{
	struct slot slot = tw_slot(tuple_key(t));
	u64 *known = slot.key ? tw_sockets.lookup(&slot.index) : 0;
	const void *tw = known ? (const void *)*known : 0;

	if (!tw)
		return;
	if (tw_substate(tw) == TCP_TIME_WAIT) {
		if (flags & TCP_FLAG_FIN)
			tw_end_of(t, tw, END_FIN, TCP_TIME_WAIT, 0, 0);
	} else if (unhashed(tw)) {
		u32 how = F_RST_ACK_KNOWN | (flags & TCP_FLAG_ACK ? F_RST_ACK : 0);

		if (flags & TCP_FLAG_RST)
			tw_end_of(t, tw, END_RST, TCP_CLOSE, how, 0);
		else
			tw_end_of(t, tw, END_LATE_DATA, TCP_CLOSE, 0, 0);
	}
}

#ifdef HAVE_DROP_REASON
#define REASON(ctx) ((u32)(ctx)->args[2])
#else
#define REASON(ctx) ((u32)DROP_REASON_NOT_SPECIFIED)
#endif

static __always_inline int on_packet_drop_skb(struct bpf_raw_tracepoint_args *ctx)
{
	const void *skb = (const void *)ctx->args[0];
	u64 dev = FIELD(u64, skb, OFF_SKB_DEV);
	u32 reason = REASON(ctx);
	struct tuple t;
	u8 flags;

#if defined(WANT_DROPS) && defined(HAVE_DROP_REASON)
	if (!dev && drop_code(reason, TCP_FLAG_RST)) {
		u64 dst = FIELD(u64, skb, OFF_SKB_REFDST) & SKB_DST_PTRMASK;

		dev = dst ? FIELD(u64, dst, OFF_DST_DEV) : 0;
		if (!dev || !tuple_of_packet(&t, skb, &flags))
			return 0;
#ifdef HAVE_CHALLENGE_ACK
		/* challenged_packet.c knows the socket. */
		if (drop_code(reason, flags & TCP_FLAG_RST) == DROP_CHALLENGE_ACK)
			return 0;
#endif
		t.net = FIELD(u64, dev, OFF_DEV_NET);
		packet_drop_event(&t, skb, flags, reason);
		return 0;
	}
#endif
#ifndef HAVE_TIMEWAIT_PACKET
	/* Anything else is why the packet did not come so far, "no socket" above all. */
	if (reason != (u32)DROP_REASON_NOT_SPECIFIED || !dev || !tuple_of_packet(&t, skb, &flags))
		return 0;
	t.net = FIELD(u64, dev, OFF_DEV_NET);
#ifdef WANT_TIMEWAITS
	timewait_met(&t, flags);
#endif
	tw_met(&t, flags);
#endif
	return 0;
}
