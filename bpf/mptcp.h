/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * MPTCP (RFC 8684). The socket of the application (struct mptcp_sock, IPPROTO_MPTCP) goes through the states of TCP, by
 * DATA_FIN instead of FIN, and the same tracepoint fires. Its subflows are TCP sockets with the upper layer
 * "mptcp", made by the kernel. Both become close records; user space puts them together.
 *
 * The connection's record waits in the table of closed sockets until the records of its subflows have left, so that
 * they come first. There is no event of its destruction: ->CLOSE comes a second time (old == new) in close().
 */
#ifdef HAVE_MPTCP

/* Subflows looked at; the path manager makes 8 at most (MPTCP_PM_ADDR_MAX). */
#define SUBFLOWS_MAX 8

/* Subflows in the list of the connection, and whether one of them is not in CLOSE. */
static __always_inline void load_subflows(struct close_record *r, u64 msk)
{
	u64 head = msk + OFF_MSK_CONN_LIST;
	u64 node = FIELD(u64, head, 0);
	u32 alive = 0, listed = 0, i;

#pragma unroll
	for (i = 0; i < SUBFLOWS_MAX; i++) {
		u64 ssk;

		if (!node || node == head)
			break;
		listed++;
		ssk = FIELD(u64, node - OFF_SUBFLOW_NODE, OFF_SUBFLOW_TCP_SOCK);
		if (FIELD(u8, ssk, OFF_SKC_STATE) != TCP_CLOSE)
			alive++;
		node = FIELD(u64, node, 0);
	}
	r->mptcp_remote_id = listed;
	if (!alive)
		r->mptcp_flags |= MP_NO_SUBFLOW;
#ifdef HAVE_MPTCP_COUNT
	/* The number of the next one; the first is 1 (__mptcp_socket_create, mptcp_sk_clone_init). */
	r->mptcp_local_id = FIELD(u32, msk, OFF_MSK_SUBFLOW_ID) - 1;
#endif
}

/* What the application has read may change until it closes. */
static __always_inline void load_reading(struct close_record *r, u64 msk)
{
#ifdef HAVE_MPTCP_BYTES
	u32 fin = r->flags & F_DONE ? 1 : 0;

	r->mptcp_flags |= MP_BYTES;
	r->bytes_received = FIELD(u64, msk, OFF_MSK_BYTES_RECEIVED) + fin;
#ifdef HAVE_MPTCP_READ
	r->mptcp_flags |= MP_READ;
	r->rcv_nxt = r->bytes_received;
	r->copied_seq = FIELD(u64, msk, OFF_MSK_BYTES_CONSUMED);
#endif
#endif
}

/* MP_FASTCLOSE from the peer takes the token (mptcp_token_destroy): the first subflow still has it. */
static __always_inline u32 token_of(u64 msk)
{
	u32 token = FIELD(u32, msk, OFF_MSK_TOKEN);
	u64 first, ctx;

	if (token)
		return token;
	first = FIELD(u64, msk, OFF_MSK_FIRST);
	ctx = first ? FIELD(u64, first, OFF_ICSK_ULP_DATA) : 0;
	return ctx ? FIELD(u32, ctx, OFF_SUBFLOW_TOKEN) : 0;
}

/* All facts that the socket of MPTCP has at its end; sequence numbers are the lower halves of MPTCP's. */
static __always_inline void load_connection(struct close_record *r, const void *sk, u32 from)
{
	u64 msk = (u64)sk, net = FIELD(u64, sk, OFF_SKC_NET),
	    socket = FIELD(u64, sk, OFF_SK_SOCKET);
	u64 sk_flags = FIELD(u64, sk, OFF_SKC_FLAGS), fin = FIELD(u64, msk, OFF_MSK_DATA_FIN_SEQ);
	u32 owned = FIELD(u32, sk, OFF_SK_OWNED), flags = 0;
	struct tuple t;

	__builtin_memset(r, 0, sizeof(*r));
	tuple_of_common(&t, sk);
	r->sk = msk;
	r->family = FIELD(u16, sk, OFF_SKC_FAMILY);
	if (r->family == AF_INET6) {
		bpf_probe_read_kernel(r->laddr, 16, sk + OFF_SKC_V6_RCV_SADDR);
		bpf_probe_read_kernel(r->raddr, 16, sk + OFF_SKC_V6_DADDR);
	} else {
		*(u32 *)r->laddr = FIELD(u32, sk, OFF_SKC_RCV_SADDR);
		*(u32 *)r->raddr = FIELD(u32, sk, OFF_SKC_DADDR);
	}
	r->lport = bpf_ntohs(FIELD(u16, sk, OFF_INET_SPORT));
	r->rport = bpf_ntohs(FIELD(u16, sk, OFF_SKC_DPORT));
	if (r->rport)
		flags |= F_ADDR;
	r->netns = FIELD(u32, net, OFF_NET_INUM);
	r->uid = FIELD(u32, sk, OFF_SK_UID);
	r->old_state = from;
	r->err = FIELD(u32, sk, OFF_SK_ERR);
	r->err_soft = FIELD(u32, sk, OFF_SK_ERR_SOFT);
	r->shutdown = FIELD(u8, sk, OFF_SK_SHUTDOWN);
	r->layer = LAYER_MPTCP;
	r->mptcp_conn = msk;
	r->mptcp_token = token_of(msk);
	r->mptcp_flags = MP_CONNECTION;
	r->snd_una = FIELD(u64, msk, OFF_MSK_SND_UNA);
	r->snd_nxt = FIELD(u64, msk, OFF_MSK_SND_NXT);
	r->write_seq = FIELD(u64, msk, OFF_MSK_WRITE_SEQ);
	r->snd_wnd = 1;
	r->quiet = SINCE_UNKNOWN;
	r->since_sent = SINCE_UNKNOWN;
	r->since_received = SINCE_UNKNOWN;
	r->rtt_min = SINCE_UNKNOWN;
	if (sk_flags & 1ull << BIT_SOCK_DEAD)
		flags |= F_DEAD;
#ifdef HAVE_MPTCP_QUEUED
	/* __mptcp_unaccepted_force_close() makes an orphan of what nobody has accepted. */
	if (BIT_OF(msk, MSK_IN_ACCEPT_QUEUE))
		flags &= ~F_DEAD;
#endif
	if (sk_flags & 1ull << BIT_SOCK_LINGER && !FIELD(u64, sk, OFF_SK_LINGERTIME))
		flags |= F_LINGER0;
	if (owned)
		flags |= F_OWNED;
	if (socket) {
		flags |= F_SOCKET;
		if (!owned || r->err)
			r->inode = FIELD(u32, socket, OFF_SOCKET_INO);
	}
	/* mptcp_check_data_fin() acknowledges the peer's DATA_FIN before it changes the state. */
	if (fin && FIELD(u64, msk, OFF_MSK_ACK_SEQ) == fin + 1)
		flags |= F_DONE;
	if (r->snd_una == r->write_seq)
		flags |= F_FIN_ACKED;
	if (FIELD(u8, msk, OFF_MSK_RCV_FASTCLOSE)) {
		r->mptcp_flags |= MP_FASTCLOSE_IN;
		flags |= F_RST_IN;
	}
	r->flags = flags;
#ifdef HAVE_MPTCP_BYTES
	r->bytes_sent =
		FIELD(u64, msk, OFF_MSK_BYTES_SENT) + FIELD(u64, msk, OFF_MSK_BYTES_RETRANS);
	r->bytes_retrans = FIELD(u64, msk, OFF_MSK_BYTES_RETRANS);
#endif
	load_reading(r, msk);
	load_subflows(r, msk);
}

/* The connection's record goes when its application has let go and the records of its subflows have left. */
static __always_inline void connection_may_go(u64 msk, struct slot slot, struct close_record *r)
{
	if (!(r->flags & F_CLOSED) || !(r->mptcp_flags & MP_LET_GO) || r->mptcp_remote_id)
		return;
	if (!cmpxchg(slot.key, msk, KEY_BUSY))
		return;
	closed_send(slot, r, END_DESTROY);
	slot_free(slot, r);
}

/* The record of a subflow has left. */
static __always_inline void subflow_left(const struct close_record *r)
{
	u64 msk = r->mptcp_conn;
	struct close_record *m;
	struct slot slot;

	if (!msk || !(r->mptcp_flags & MP_SUBFLOW))
		return;
	slot = closed_slot(msk);
	m = closed_at(slot);
	if (!m)
		return;
	if (m->mptcp_remote_id)
		m->mptcp_remote_id--;
	connection_may_go(msk, slot, m);
}

/*
 * A subflow sends RST: with it, does the whole connection end (MP_FASTCLOSE)? That of a child that nobody accepted loses
 * its context next: the history, which has no owner, remembers the connection.
 */
static __always_inline void subflow_resets(const void *sk, struct conn *c)
{
	u64 ctx = subflow_of(sk);
	u64 msk = ctx ? FIELD(u64, ctx, OFF_SUBFLOW_CONN) : 0;
	struct close_record *m;
	u32 fastclose = 0;

	if (!msk || is_plain(ctx, msk))
		return;
	m = closed_at(closed_slot(msk));
#ifdef HAVE_MPTCP_FASTCLOSE
	fastclose = BIT_OF(ctx, SUBFLOW_SEND_FASTCLOSE);
#else
	fastclose = m && !(m->mptcp_flags & MP_FASTCLOSE_IN);
#endif
	if (m && fastclose) {
		m->flags |= F_RST_OUT;
		m->mptcp_flags |= MP_FASTCLOSE_OUT;
	}
	if (!c)
		return;
	c->mptcp = MP_SUBFLOW | (fastclose ? MP_FASTCLOSE_OUT : 0);
	if (!c->pid)
		c->cgroup = msk;
}

/* What the first subflow does not see: the task that closes, where its FIN waits for data. */
static __always_inline void tell_first(u64 msk, const struct conn *c)
{
	u64 sk = FIELD(u64, msk, OFF_MSK_FIRST);
	struct conn *first = sk ? conn_find(sk) : 0;

	if (first && c->pid && !first->pid)
		COPY_OWNER(first, c);
}

static __always_inline void load_connection_history(struct close_record *r, const struct conn *c)
{
	u32 steps = c ? c->steps : 0;

	if (!c)
		return;
	r->at[0] = steps > 0 ? c->at[0] : 0;
	r->at[1] = steps > 1 ? c->at[1] : 0;
	r->at[2] = steps > 2 ? c->at[2] : 0;
	r->at[3] = steps > 3 ? c->at[3] : 0;
	r->at[4] = steps > 4 ? c->at[4] : 0;
	r->path = c->path;
	r->flags |= c->flags;
	r->exit_code = c->flags & F_EXITING ? c->exit_code : 0;
	if (c->pid)
		COPY_OWNER(r, c);
	else
		r->owner_from = c->owner_from;
}

/*
 * The record of a connection that reached CLOSE; no key where it has none, or was sent. User space applies the filter,
 * all of it: the verifier would walk it twice in this program.
 */
static __always_inline struct slot connection_closed(const void *sk, u32 from)
{
	struct slot conn, slot, none = {};
	struct close_record *r;
	struct conn *c;

	if (tracing_stopped())
		return none;
	conn = conn_slot_or_empty((u64)sk);
	c = conn_at(conn.index);
	/* Both are always there. */
	if (!conn.key || !c)
		return none;
	if (is_plain_connection((u64)sk, from)) {
		tell_first((u64)sk, c);
		conn_free(conn);
		return none;
	}
	slot = closed_take((u64)sk, 1);
	r = closed_at(slot);
	if (!r) {
		count(STAT_LOST_CLOSES);
		conn_free(conn);
		return none;
	}
	load_connection(r, sk, from);
	load_connection_history(r, c);
	/* From here on the history may be another connection's. */
	conn_free(conn);
	r->at[AT_CLOSED] = bpf_ktime_get_ns();
	record_step(r, TCP_CLOSE, r->at[AT_CLOSED]);
	/* The worker of MPTCP holds the lock as a call does, and the application still holds the socket. */
	if (kernel_runs())
		r->flags &= ~F_OWNED;
	if (is_spare(slot)) {
		count(STAT_CLOSING_FULL);
		r->flags |= F_CLOSED;
		send(r, END_FULL);
		slot_free(slot, r);
		return none;
	}
	record_whole(r);
	waits();
	return slot;
}

/*
 * ->CLOSE, and once more (old == new): in close() of what was over before, or by the worker that finds it over
 * (__mptcp_close, __mptcp_close_ssk).
 */
static __always_inline void connection_ends(const void *sk, u32 from)
{
	struct slot slot = from == TCP_CLOSE ? closed_slot((u64)sk) : connection_closed(sk, from);
	struct close_record *r = closed_at(slot);
	u64 dead;

	if (!r || !(r->flags & F_CLOSED) || r->mptcp_flags & MP_LET_GO)
		return;
	dead = FIELD(u64, sk, OFF_SKC_FLAGS) >> BIT_SOCK_DEAD & 1;
	if (from != TCP_CLOSE) {
		/* Inside a call, or in the accept queue of a listener that closes; else it waits, unless orphaned. */
		if (!in_call(r) && r->flags & F_SOCKET)
			return;
		dead = r->flags & F_DEAD;
	} else if (!dead && kernel_runs()) {
		return;
	} else {
		load_reading(r, (u64)sk);
		r->shutdown |= SHUT_READ_FINAL;
		dead = 0;
	}
	/* Who has orphaned it is known. */
	if (!dead)
		BY_CURRENT(r, OWNER_CLOSE);
	r->mptcp_flags |= MP_LET_GO;
	connection_may_go((u64)sk, slot, r);
}
#else
static __always_inline void subflow_left(const struct close_record *r)
{
}
#endif
