/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * sock:inet_sock_set_state(sk, old, new): every transition of a full socket, before sk_state is stored.
 * ->CLOSE comes after the port is given back (skc_num is 0 for a bound port; inet_sport stays).
 * Process context for what the application does, softirq for packets and timers: `current` means
 * something only for connect(), close() and shutdown(). old == new marks close() after shutdown().
 * Cannot see: TIME_WAIT and FIN_WAIT2 of an orphan, which are mini-sockets (timewait.h).
 */

/*
 * FIN_WAIT2|CLOSING -> CLOSE: is it the end, or does a mini-socket carry on? In substate FIN_WAIT2 a copy of
 * the record waits for the peer's FIN (or what else ends that phase). Returns END_NONE when the record is to go its
 * usual way, END_FIN when the mini-socket has it, END_FULL when there was no room.
 */
static __always_inline u8 carried_on(struct close_record *r, const void *sk, u64 now)
{
	struct close_record *copy;
	struct slot slot;
	struct tuple t;
	u64 key, tw;

	tuple_of_record(&t, r, FIELD(u64, sk, OFF_SKC_NET));
	tw = mini_find(&t, sk);
	if (!tw) {
#ifdef WANT_TIMEWAITS
#ifdef HAVE_TIMEWAIT_REFUSED
		if (r->flags & F_TW_REFUSED)
#else
		/* No mini-socket, yet no RST and no TCP_LINGER2 below 0: tcp_time_wait() got no memory. */
		if (!(r->flags & (F_RST_OUT | F_RST_IN | F_LINGER0)) && r->linger2 >= 0)
#endif
			carrier_event(r, &t, 0, TIMEWAIT_OVERFLOW);
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
		carrier_event(r, &t, (const void *)tw, TIMEWAIT_ENTERED);
#endif
		record_step(r, TCP_TIME_WAIT, now);
		return END_NONE;
	}
	r->flags |= F_TW_FIN_WAIT2;
#ifdef WANT_TIMEWAITS
	carrier_event(r, &t, (const void *)tw, TIMEWAIT_FIN_WAIT2);
#endif
	key = tuple_key(&t);
	slot = mini_take(key);
	copy = mini_at(slot);
	if (!copy)
		return END_FULL;
	if (copy->flags)
		send(copy, END_STALE);
#ifndef HAVE_RX_SK
	{
		u64 *known = mini_tws.lookup(&slot.index);

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
	swap(slot.key, KEY_BUSY, key);
	if (mini_substate((const void *)tw) == TCP_TIME_WAIT)
		mini_end((const void *)tw, END_FIN, TCP_TIME_WAIT, 0, 0);
	return END_FIN;
}

static __always_inline void closed(const void *sk, u32 from)
{
	struct slot conn = conn_slot((u64)sk), slot = closing_take((u64)sk);
	struct close_record *r = closing_at(slot);
	struct conn *c = conn.key ? conn_at(conn.index) : 0;
	u8 end = END_NONE;
	u32 zero = 0;
	u64 now;
	int tcp;

	if (!r) {
		r = spare.lookup(&zero);
		if (!r)
			return;
		slot.key = 0;
		end = END_FULL;
	} else if (r->flags & F_CLOSED) {
		/* Of an earlier socket at this address, whose destruction was missed. */
		send(r, END_REUSE);
	}
	tcp = load_socket(r, sk, from);
	load_history(r, c);
	now = r->flags & F_RST_IN ? packet_time(sk) : bpf_ktime_get_ns();
	/* The peer's FIN (tcp_fin()): at the same moment as FIN_WAIT2 if one segment had both. */
	if (r->flags & F_DONE && from == TCP_FIN_WAIT2) {
		now = packet_time(sk);
		r->flags |= F_SEGMENT_TIME;
	}
	if (conn.key)
		*conn.key = 0;
	if (!tcp) {
		end = END_FIN;
	} else if (!PASSES(r)) {
		count(STAT_FILTERED);
		end = END_FIN;
	} else if (!r->err && (from == TCP_FIN_WAIT2 || from == TCP_CLOSING)) {
		u8 how = carried_on(r, sk, now);

		end = how ? how : end;
	} else {
		record_step(r, TCP_CLOSE, now);
	}
	record_whole(r);
	if (end == END_FULL) {
		count(STAT_CLOSING_FULL);
		send(r, END_FULL);
	}
	if (end && slot.key)
		slot_free(slot, r);
}

/* connect(): what this socket was before is over. */
static __always_inline void connecting(const void *sk, struct conn *c)
{
	struct slot slot = closing_slot((u64)sk);
	struct close_record *r = closing_at(slot);

	if (r) {
		send(r, END_REUSE);
		slot_free(slot, r);
	}
	if (!c)
		return;
	conn_begin(c);
	c->flags = F_BORN | F_CLIENT;
	c->pid = bpf_get_current_pid_tgid() >> 32;
	c->owner_from = OWNER_CONNECT;
}

static __always_inline void leaving(const void *sk, struct conn *c, u32 from, u32 to)
{
	if (from == to)
		c->flags |= F_CLOSE_CALLED;
	/*
	 * Only close(), shutdown() and the exit of a process come here with these, and they hold the lock: a
	 * shutdown() that was put off until the handshake is over runs in softirq, without it.
	 */
	if ((from == to || to == TCP_FIN_WAIT1 || to == TCP_LAST_ACK) &&
	    GET(u32, sock, sk, OFF_SK_OWNED))
		CLOSED_BY_CURRENT(c);
	/* ICSK_ACK_SCHED: the ACK of the peer's FIN has not left yet, ours will carry it. */
	if (to == TCP_LAST_ACK && GET(u8, inet_connection_sock, sk, OFF_ICSK_ACK_PENDING) & 1)
		c->flags |= F_ACK_PENDING;
}

/* Nothing of a listener is told, but that it has a child. */
static __always_inline int of_listener(u32 from, u32 to)
{
	return to == TCP_LISTEN || (from == TCP_LISTEN && to != TCP_SYN_RECV);
}

/*
 * The history of the connection lacks this change. Where that cannot be known it is not so, and a run that was left
 * out remains a loss: old == new, a history that is full, the end of a connection without one.
 */
static __always_inline int left_out(const void *sk, u32 from, u32 to)
{
	struct conn *c;

	if (from == to || of_listener(from, to))
		return 0;
	c = conn_find((u64)sk);
	if (!c)
		return to != TCP_CLOSE;
	return to == TCP_CLOSE || (c->steps < CONN_STEPS && (c->path & 15) != to);
}
#define LEFT_OUT(ctx) left_out((const void *)ctx->args[0], ctx->args[1], ctx->args[2])

static __always_inline int on_state_change(struct bpf_raw_tracepoint_args *ctx)
{
	const void *sk = (const void *)ctx->args[0];
	u32 from = ctx->args[1], to = ctx->args[2];
	struct conn *c;

#ifdef WANT_TRANSITIONS
	transition_event(sk, from, to);
#endif
	if (of_listener(from, to))
		return 0;
	if (to == TCP_CLOSE) {
		if (from != to)
			closed(sk, from);
		return 0;
	}
	c = conn_open((u64)sk);
	if (to == TCP_SYN_SENT)
		connecting(sk, c);
	if (!c)
		return 0;
	if (to == TCP_ESTABLISHED) {
#ifdef WANT_TIMEWAITS
		reuse_event(sk, from == TCP_SYN_RECV ? TIMEWAIT_REUSED_BY_SYN
						     : TIMEWAIT_REUSED_BY_CONNECT);
#endif
		if (!(c->flags & F_CLIENT))
			c->flags |= from == TCP_SYN_SENT ? F_CLIENT : F_SERVER;
		conn_step(c, to, packet_time(sk));
		return 0;
	}
	/*
	 * A listener's child is born: in the softirq that makes it ESTABLISHED next, or, with TCP Fast Open, long
	 * before. With connect() on both sides (RFC 9293, 3.5) a client comes through SYN_RECV too.
	 */
	if (from == TCP_LISTEN) {
		conn_begin(c);
		c->flags = F_BORN | F_SERVER;
	}
	/* An ACK makes FIN_WAIT2, nothing else. */
	if (from != to)
		conn_step(c, to, to == TCP_FIN_WAIT2 ? packet_time(sk) : bpf_ktime_get_ns());
	if (to != TCP_SYN_SENT && to != TCP_SYN_RECV)
		leaving(sk, c, from, to);
	return 0;
}
