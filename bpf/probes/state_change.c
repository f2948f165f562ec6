/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * sock:inet_sock_set_state(sk, old, new): every transition of a full socket, before sk_state is stored.
 * ->CLOSE comes after the port is given back (skc_num is 0 for a bound port; inet_sport stays).
 * Process context for what the application does, softirq for packets and timers: `current` means
 * something only for connect(), close() and shutdown(). old == new marks close() after shutdown().
 * Cannot see: TIME_WAIT and FIN_WAIT2 of an orphan, which are timewait sockets (timewait.h).
 */

/* connect(): what this socket was before is over. */
static __always_inline void connecting(const void *sk, struct conn *c)
{
	struct slot slot = closed_slot((u64)sk);
	struct close_record *r = closed_at(slot);

	if (r && cmpxchg(slot.key, (u64)sk, KEY_BUSY)) {
		closed_send(slot, r, END_REUSE);
		slot_free(slot, r);
	}
	if (!c)
		return;
	conn_begin(c);
	c->flags = F_BORN | F_CLIENT;
	if (kernels_own(sk))
		NOBODY_OWNS(c, OWNER_KERNEL);
	else
		BY_CURRENT(c, OWNER_CONNECT);
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
	    GET(u32, sock, sk, OFF_SK_OWNED)) {
		if (kernels_own(sk))
			NOBODY_OWNS(c, OWNER_KERNEL);
		else
			BY_CURRENT(c, OWNER_CLOSE);
	}
	/* ICSK_ACK_SCHED: the ACK of the peer's FIN has not left yet, ours will carry it. */
	if (to == TCP_LAST_ACK && GET(u8, inet_connection_sock, sk, OFF_ICSK_ACK_PENDING) & 1)
		c->flags |= F_ACK_PENDING;
}

/* close() takes a psock away before TCP sees it: look for it while the connection lives. */
static __always_inline void look_for_psock(struct conn *c, const void *sk)
{
	u64 user_data = GET(u64, sock, sk, OFF_SK_USER_DATA);

	if (user_data && has_psock(sk, user_data))
		c->layer = LAYER_SOCKMAP;
}

/* Ignore listeners, except LISTEN -> SYN_RECV: a child socket is born. */
static __always_inline int of_listener(u32 from, u32 to)
{
	return to == TCP_LISTEN || (from == TCP_LISTEN && to != TCP_SYN_RECV);
}

static __always_inline enum occasion occasion_of(u32 from, u32 to)
{
	if (to == TCP_SYN_SENT || from == TCP_LISTEN)
		return FOR_BEGIN;
	return to == TCP_ESTABLISHED || to == TCP_SYN_RECV || to == TCP_CLOSE_WAIT ? FOR_LIFE
										   : FOR_END;
}

/*
 * True if the first program missed this transition, judged by the recorded history. If the history cannot tell (old ==
 * new, history full, end without a history), return 0: the miss stays counted as a loss. Without a slot the first
 * program was skipped only if it would have got one: the filter may rule the connection out, or the table be full.
 */
static __always_inline int skipped(const void *sk, u32 from, u32 to)
{
	struct conn *c;

	if (from == to || of_listener(from, to))
		return 0;
	c = conn_find((u64)sk);
	if (!c)
		return to != TCP_CLOSE && may_pass(sk) &&
		       conn_room((u64)sk) > spared(occasion_of(from, to));
	return to == TCP_CLOSE || (c->steps < CONN_STEPS && (c->path & 15) != to);
}
/* No other event of this CPU has the same at the same time: the two states are 4 bits each, the address has 8 to spare. */
#define EVENT(ctx) ((u64)(ctx)->args[0] << 8 | (u32)(ctx)->args[1] << 4 | (u32)(ctx)->args[2])
#define SKIPPED(ctx) skipped((const void *)ctx->args[0], ctx->args[1], ctx->args[2])

/* The socket of MPTCP: its states are not those of a socket of TCP, but follow the same way (mptcp.h). */
static __always_inline int of_mptcp(const void *sk)
{
#ifdef HAVE_MPTCP
	return is_connection(sk);
#else
	return 0;
#endif
}

static __always_inline int on_state_change(struct bpf_raw_tracepoint_args *ctx)
{
	const void *sk = (const void *)ctx->args[0];
	u32 from = ctx->args[1], to = ctx->args[2];
	int mptcp = of_mptcp(sk);
	struct conn *c;

	if (from == TCP_LISTEN && to == TCP_CLOSE && !mptcp)
		listener_ended(sk);

#ifdef WANT_TRANSITIONS
	transition_event(sk, from, to);
#endif
	/* A listener's child begins in ESTABLISHED with MPTCP (mptcp_sk_clone_init). */
	if (of_listener(from, to) && (to != TCP_ESTABLISHED || !mptcp))
		return 0;
	if (to == TCP_CLOSE) {
#ifdef HAVE_MPTCP
		if (mptcp) {
			connection_ends(sk, from);
			return 0;
		}
#endif
		if (from != to)
			reached_close(sk, from);
		return 0;
	}
#ifdef WANT_TIMEWAITS
	if (to == TCP_ESTABLISHED && !mptcp)
		reuse_event(sk, from == TCP_SYN_RECV ? TIMEWAIT_REUSED_BY_SYN
						     : TIMEWAIT_REUSED_BY_CONNECT);
#endif
	c = conn_open((u64)sk, occasion_of(from, to));
	if (to == TCP_SYN_SENT)
		connecting(sk, c);
	if (!c)
		return 0;
	if (to == TCP_ESTABLISHED && !mptcp) {
		/* Now all that a filter asks for is known. */
		if (!may_pass(sk)) {
			conn_drop((u64)sk);
			return 0;
		}
		if (!(c->flags & F_CLIENT))
			c->flags |= from == TCP_SYN_SENT ? F_CLIENT : F_SERVER;
		conn_step(c, to, packet_time(sk));
		look_for_psock(c, sk);
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
		conn_step(c, to,
			  to == TCP_FIN_WAIT2 && !mptcp ? packet_time(sk) : bpf_ktime_get_ns());
	if ((to == TCP_FIN_WAIT1 || to == TCP_CLOSE_WAIT) && !mptcp) {
		quiet_before_fin(c, sk, to);
		look_for_psock(c, sk);
	}
	if (to != TCP_SYN_SENT && to != TCP_SYN_RECV)
		leaving(sk, c, from, to);
	return 0;
}
