/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* A full socket reaches CLOSE: its record. */

#if defined(WANT_TIMEWAITS) && !defined(HAVE_TIMEWAIT_REFUSED)
/* As inet_twsk_alloc() sees it: there are as many timewait sockets as the namespace may have. */
static __always_inline int buckets_used_up(u64 net)
{
#ifdef DEATH_ROW_IS_POINTER
	u64 row = FIELD(u64, net, OFF_NET_DEATH_ROW);
#else
	u64 row = net + OFF_NET_DEATH_ROW;
#endif

	return (s32)(FIELD(u32, row, OFF_DEATH_ROW_COUNT) - DEATH_ROW_COUNTS_FROM) >=
	       FIELD(s32, row, OFF_DEATH_ROW_MAX);
}

/*
 * CLOSE without a timewait socket: was one due? close() with unread data or SO_LINGER 0 comes by here too, before its
 * RST, with the socket still attached. Of an orphan it is a FIN_WAIT2 that could not begin, or data that came with the
 * ACK of our FIN and is about to be answered with RST (tcp_rcv_state_process).
 */
static __always_inline int time_wait_due(const struct close_record *r, u64 net)
{
	if (r->old_state == TCP_CLOSING)
		return r->flags & F_FIN_ACKED;
	if (r->flags & F_DONE)
		return 1;
	return r->flags & F_DEAD && buckets_used_up(net);
}
#endif

/*
 * FIN_WAIT2|CLOSING -> CLOSE: is it the end, or does a timewait socket carry on? In substate FIN_WAIT2 a copy of
 * the record waits for the peer's FIN (or what else ends that phase). Returns END_NONE when the record is to go its
 * usual way, END_FIN when the timewait socket has it, END_FULL when there was no room.
 */
static __always_inline u8 carried_on(struct close_record *r, const void *sk, u64 now)
{
	struct close_record *copy;
	struct slot slot;
	struct tuple t;
	u64 key, tw;

	tuple_of_record(&t, r, FIELD(u64, sk, OFF_SKC_NET));
	tw = tw_find(&t, sk);
	if (!tw) {
#ifdef WANT_TIMEWAITS
#ifdef HAVE_TIMEWAIT_REFUSED
		if (r->flags & F_TW_REFUSED)
#else
		/* No timewait socket, yet no RST and no TCP_LINGER2 below 0: tcp_time_wait() got no memory. */
		if (!(r->flags & (F_RST_OUT | F_RST_IN | F_LINGER0)) && r->linger2 >= 0 &&
		    time_wait_due(r, FIELD(u64, sk, OFF_SKC_NET)))
#endif
			tw_began(r, &t, 0, TIMEWAIT_OVERFLOW);
#endif
		record_step(r, TCP_CLOSE, now);
		return END_NONE;
	}
	learn_timer(tw);
	r->flags |= F_TW;
	/*
	 * The peer's FIN, if the full socket had it (tcp_fin() sets SOCK_DONE), makes it TIME_WAIT from the start. Else
	 * it begins in FIN_WAIT2, even if the FIN has met it on another CPU by now.
	 */
	if (r->flags & F_DONE) {
#ifdef WANT_TIMEWAITS
		tw_began(r, &t, (const void *)tw, TIMEWAIT_ENTERED);
#endif
		record_step(r, TCP_TIME_WAIT, now);
		return END_NONE;
	}
	r->flags |= F_TW_FIN_WAIT2;
	/* Without a history this is when it was first seen to be in FIN_WAIT2. */
	if (!r->at[0])
		record_step(r, TCP_FIN_WAIT2, now);
#ifdef WANT_TIMEWAITS
	tw_began(r, &t, (const void *)tw, TIMEWAIT_FIN_WAIT2);
#endif
	key = tuple_key(&t);
	slot = tw_take(key);
	copy = tw_at(slot);
	if (!copy)
		return END_FULL;
	if (copy->flags)
		tw_send(slot, copy, END_STALE);
#ifndef HAVE_RX_SK
	{
		u64 *known = tw_sockets.lookup(&slot.index);

		if (known)
			*known = tw;
	}
#endif
	__builtin_memcpy(copy, r, sizeof(*r));
	record_whole(copy);
	/*
	 * The FIN may have come on another CPU before the slot had its key. Atomic for its barrier: this CPU stores
	 * the key and loads the substate, the other one stores the substate and loads the key.
	 */
	cmpxchg(slot.key, KEY_BUSY, key);
	if (tw_substate((const void *)tw) == TCP_TIME_WAIT)
		tw_end((const void *)tw, END_FIN, TCP_TIME_WAIT, 0, 0);
	return END_FIN;
}

/*
 * An MPTCP subflow may have been given the application's socket since the kernel connected it: then whoever has that
 * open is the owner.
 */
static __always_inline void settle_owner(struct close_record *r, const void *sk)
{
	if (kernels_own(sk))
		NOBODY_OWNS(r, OWNER_KERNEL);
	else if (r->owner_from == OWNER_KERNEL && r->flags & F_SOCKET)
		NOBODY_OWNS(r, OWNER_NONE);
}

/* It died under its application, by a reset or a timer: what closes it may come at any time. */
static __always_inline int waits_for_owner(const void *sk)
{
	return GET(u32, sock, sk, OFF_SK_ERR) &&
	       !(GET(u64, sock_common, sk, OFF_SKC_FLAGS) & 1ull << BIT_SOCK_DEAD);
}

/* What stood above TCP. The history remembers a sockmap, MPTCP what it knows of its subflows. */
static __always_inline void settle_layer(struct close_record *r, const void *sk,
					 const struct conn *c)
{
	if (r->layer == LAYER_MPTCP || (c && c->mptcp))
		load_subflow(r, sk, c);
	if (r->layer != LAYER_NONE)
		return;
	if (c && c->layer)
		r->layer = c->layer;
	else if (r->owner_from == OWNER_KERNEL)
		r->layer = LAYER_KERNEL;
}

/* No slot in the table, nor behind it: an end is lost. */
static __always_inline void no_place(const void *sk, struct slot conn)
{
	conn_free(conn);
	if (GET(u16, sock, sk, OFF_SK_PROTOCOL) == IPPROTO_TCP)
		count(STAT_LOST_CLOSES);
}

/*
 * The filter does not want it, and nobody waits for it: no more is read of it. For the record of a subflow its connection
 * waits (subflow_left), so what has an upper layer goes the whole way.
 */
static __always_inline int ruled_out(const void *sk)
{
#ifdef HAVE_MPTCP
	if (GET(u64, inet_connection_sock, sk, OFF_ICSK_ULP_OPS))
		return 0;
#endif
	return GET(u16, sock, sk, OFF_SK_PROTOCOL) == IPPROTO_TCP && !may_pass(sk);
}

static __always_inline void reached_close(const void *sk, u32 from)
{
	struct slot conn, slot;
	struct close_record *r;
	struct conn *c;
	u8 end = END_NONE;
	u64 now;
	int tcp;

	if (tracing_stopped())
		return;
	if (ruled_out(sk)) {
		conn_drop((u64)sk);
		count(STAT_FILTERED);
		return;
	}
	conn = conn_slot_or_empty((u64)sk);
	c = conn_at(conn.index);
	/* Both are always there. */
	if (!conn.key || !c)
		return;
	slot = closed_take((u64)sk, waits_for_owner(sk));
	r = closed_at(slot);
	if (!r) {
		no_place(sk, conn);
		return;
	}
	tcp = load_socket(r, sk, from);
	load_history(r, c);
	load_icmp_source(r);
	if (made_by_kernel(sk))
		settle_owner(r, sk);
	settle_layer(r, sk, c);
	now = r->flags & F_RST_IN ? packet_time(sk) : bpf_ktime_get_ns();
	/* The peer's FIN (tcp_fin()): at the same moment as FIN_WAIT2 if one segment had both. */
	if (r->flags & F_DONE && from == TCP_FIN_WAIT2) {
		now = packet_time(sk);
		r->flags |= F_SEGMENT_TIME;
	}
	r->at[AT_CLOSED] = now;
	conn_free(conn);
	if (!tcp) {
		end = END_FIN;
	} else if (!PASSES(r)) {
		count(STAT_FILTERED);
		end = END_PENDING;
	} else if (!r->err && (from == TCP_FIN_WAIT2 || from == TCP_CLOSING)) {
		end = carried_on(r, sk, now);
	} else {
		record_step(r, TCP_CLOSE, now);
	}
	if (!end && is_spare(slot))
		end = END_FULL;
	if (!end) {
		record_whole(r);
		if (!(r->flags & F_DEAD))
			waits();
		return;
	}
	if (end == END_FULL) {
		count(STAT_CLOSING_FULL);
		/* Nobody will see the socket destroyed. */
		if (in_call(r) && r->owner_from != OWNER_KERNEL)
			BY_CURRENT(r, OWNER_CLOSE);
		r->flags |= F_CLOSED;
		send(r, END_FULL);
	}
	/* Sent, or filtered: the end of FIN_WAIT2 has the others. */
	if (end != END_FIN)
		subflow_left(r);
	slot_free(slot, r);
}
