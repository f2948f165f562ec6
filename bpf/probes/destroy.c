/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * tcp:tcp_destroy_sock(sk): the end of every full socket. Right after ->CLOSE for an orphan or inside
 * close(); later, in the process that closes it, when a RST or a timer had killed the connection under it.
 * That makes it the place where the owner of such a connection is known for certain.
 */
/*
 * An orphan that a segment ended: was the segment a RST, or data that is about to be answered with one? Either
 * tcp_reset() ran (F_RST_IN), or the orphan left FIN_WAIT2 without a timewait socket (tcp_rcv_state_process: TCP_LINGER2
 * below 0, or data with the ACK of our FIN).
 */
static __always_inline int may_be_answered(const struct close_record *r)
{
	if (!(r->flags & F_DEAD) || r->flags & (F_RST_REPLY | F_RST_OUT))
		return 0;
	return r->flags & F_RST_IN ||
	       (r->old_state == TCP_FIN_WAIT2 && !(r->flags & F_TW) && !r->err);
}

/* ->CLOSE was missed (a softirq interrupted the same program): what the socket and its history still say. */
static __always_inline void load_missed(struct close_record *r, const void *sk, struct conn *c)
{
	load_history(r, c);
	settle_layer(r, sk, c);
	r->flags |= F_MISSED;
	/* tcp_disconnect() has cleared it. */
	if (!r->rport)
		r->flags &= ~F_ADDR;
	r->at[AT_CLOSED] = bpf_ktime_get_ns();
	record_step(r, TCP_CLOSE, r->at[AT_CLOSED]);
	record_whole(r);
}

static __always_inline void send_missed(const void *sk, struct conn *c)
{
	struct slot slot = spare_take((u64)sk);
	struct close_record *r = closed_at(slot);

	if (!r) {
		count(STAT_LOST_CLOSES);
		return;
	}
	if (load_socket(r, sk, 0)) {
		load_missed(r, sk, c);
		if (PASSES(r))
			send(r, END_DESTROY);
	}
	slot_free(slot, r);
}

static __always_inline int on_destroy(struct bpf_raw_tracepoint_args *ctx)
{
	u64 sk = ctx->args[0];
	struct slot slot = closed_slot(sk);
	struct close_record *r = closed_at(slot);
	struct conn *c;

	if (r) {
		/* Another CPU may be taking the slot, since its record is old: that one sends it. */
		if (!cmpxchg(slot.key, sk, KEY_BUSY))
			return 0;
		/* Not orphaned at ->CLOSE: only close() can bring it here. */
		if (!(r->flags & F_DEAD) && r->owner_from != OWNER_KERNEL)
			BY_CURRENT(r, OWNER_CLOSE);
		/* The application may have read since ->CLOSE; tcp_disconnect() takes the peer's port away, and the queue. */
		if (!(r->flags & F_DEAD) && GET(u16, sock_common, sk, OFF_SKC_DPORT)) {
			r->copied_seq = GET(u32, tcp_sock, sk, OFF_TCP_COPIED_SEQ);
			r->shutdown |= SHUT_READ_FINAL;
#ifdef HAVE_MPTCP
			if (r->mptcp_flags & MP_FALLBACK)
				r->copied_seq -= unread_of(r->mptcp_conn);
#endif
		}
		if (may_be_answered(r))
			await_rst(r);
		else
			closed_send(slot, r, END_DESTROY);
		subflow_left(r);
		slot_free(slot, r);
		return 0;
	}
	slot = conn_slot(sk);
	if (!slot.key)
		return 0;
	c = conn_at(slot.index);
	if (c && !tracing_stopped())
		send_missed((const void *)sk, c);
	*slot.key = 0;
	return 0;
}
