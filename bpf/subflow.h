/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Subflows of MPTCP (RFC 8684): TCP sockets with the upper layer "mptcp", made by the kernel. What the application holds
 * is the connection (struct mptcp_sock): mptcp.h.
 */
#ifdef HAVE_MPTCP

#define BIT_OF(base, name) (FIELD(u8, base, OFF_##name) >> SHIFT_##name & MASK_##name)

static __always_inline int is_connection(const void *sk)
{
	return GET(u16, sock, sk, OFF_SK_PROTOCOL) == IPPROTO_MPTCP;
}

/* struct mptcp_subflow_context of a TCP socket; 0 where it is no subflow. */
static __always_inline u64 subflow_of(const void *sk)
{
	u64 ops = GET(u64, inet_connection_sock, sk, OFF_ICSK_ULP_OPS);

	return ops && ulp_layer(ops) == LAYER_MPTCP ? FIELD(u64, sk, OFF_ICSK_ULP_DATA) : 0;
}

static __always_inline int fell_back(u64 msk)
{
#ifdef OFF_MSK_FLAGS
	return FIELD(u64, msk, OFF_MSK_FLAGS) & MASK_MSK_FALLBACK;
#else
	return 0;
#endif
}

/*
 * Plain TCP below a socket of MPTCP: the peer did not speak MPTCP, or did not answer at all. The subflow is the
 * connection then, and its record the only one.
 */
static __always_inline int is_plain(u64 ctx, u64 msk)
{
	if (BIT_OF(ctx, SUBFLOW_MP_JOIN) || BIT_OF(ctx, SUBFLOW_REQUEST_JOIN))
		return 0;
	return !BIT_OF(ctx, SUBFLOW_MP_CAPABLE) || fell_back(msk);
}

/* is_plain() of the connection itself, by its first subflow. */
static __always_inline int is_plain_connection(u64 msk, u32 from)
{
	u64 first, ctx;

	if (from == TCP_SYN_SENT || fell_back(msk))
		return 1;
	first = FIELD(u64, msk, OFF_MSK_FIRST);
	ctx = first ? FIELD(u64, first, OFF_ICSK_ULP_DATA) : 0;
	/* One that ended before the connection was reset (mptcp_subflow_ctx_reset): it has no token. */
	return ctx && FIELD(u32, ctx, OFF_SUBFLOW_TOKEN) && is_plain(ctx, msk);
}

#if defined(HAVE_MPTCP_BYTES) && defined(HAVE_MPTCP_READ)
#define KNOWS_UNREAD MP_READ
#endif

/* What the application has not read, once it is in the queue of the connection; 0 where the kernel does not count. */
static __always_inline u32 unread_of(u64 msk)
{
#ifdef KNOWS_UNREAD
	return FIELD(u64, msk, OFF_MSK_BYTES_RECEIVED) - FIELD(u64, msk, OFF_MSK_BYTES_CONSUMED);
#else
	return 0;
#endif
}

#define COPY_OWNER(d, s)                                                   \
	({                                                                 \
		(d)->pid = (s)->pid;                                       \
		(d)->cgroup = (s)->cgroup;                                 \
		(d)->owner_from = (s)->owner_from;                         \
		__builtin_memcpy((d)->comm, (s)->comm, sizeof((d)->comm)); \
	})

/* Whoever holds the connection owns its subflows: what is known of it, alive or closed. */
static __always_inline void owner_of_connection(struct close_record *r, u64 msk)
{
	struct conn *c = conn_find(msk);
	struct close_record *m;

	if (c) {
		if (c->pid)
			COPY_OWNER(r, c);
		return;
	}
	m = closed_at(closed_slot(msk));
	if (m && m->pid)
		COPY_OWNER(r, m);
}

/* A kernel thread: the worker of MPTCP, or one that closes for somebody else. */
static __always_inline u32 kernel_runs(void)
{
	const void *task = (const void *)bpf_get_current_task();

	return GET(u32, task_struct, task, OFF_TASK_FLAGS) & (PF_KTHREAD | PF_WQ_WORKER);
}

/*
 * The only subflow of a connection that is plain TCP: what the application holds is the socket of MPTCP. Inside its
 * close() that has been detached already (__mptcp_close), so the lock of the subflow and the task tell.
 */
static __always_inline void stands_for(struct close_record *r, u64 msk)
{
	u64 socket = FIELD(u64, msk, OFF_SK_SOCKET);
	u32 locked = FIELD(u32, msk, OFF_SK_OWNED);

	r->copied_seq -= unread_of(msk);
	r->mptcp_flags = MP_FALLBACK;
#ifdef KNOWS_UNREAD
	r->mptcp_flags |= KNOWS_UNREAD;
#endif
	r->flags &= ~(F_DEAD | F_SOCKET);
	if (socket) {
		r->flags |= F_SOCKET;
		if (!r->inode && (!locked || r->err))
			r->inode = FIELD(u32, socket, OFF_SOCKET_INO);
	} else if (r->flags & F_OWNED && locked && !kernel_runs()) {
		r->flags |= F_SOCKET;
	} else {
		r->flags |= F_DEAD;
	}
	if (!r->pid || r->owner_from == OWNER_KERNEL)
		owner_of_connection(r, msk);
}

/* Does the connection go on without this subflow? */
static __always_inline int goes_on(u64 msk)
{
	u8 state = FIELD(u8, msk, OFF_SKC_STATE);

	return (state == TCP_ESTABLISHED || state == TCP_CLOSE_WAIT || state == TCP_FIN_WAIT1 ||
		state == TCP_FIN_WAIT2) &&
	       !FIELD(u8, msk, OFF_MSK_RCV_FASTCLOSE) &&
	       FIELD(u8, msk, OFF_SK_SHUTDOWN) != (SHUT_RECEIVE | SHUT_SEND);
}

/* What MPTCP knows of a subflow that reached CLOSE. */
static __always_inline void load_subflow(struct close_record *r, const void *sk,
					 const struct conn *c)
{
	u64 ctx = r->layer == LAYER_MPTCP ? FIELD(u64, sk, OFF_ICSK_ULP_DATA) : 0;
	u64 msk = ctx ? FIELD(u64, ctx, OFF_SUBFLOW_CONN) : 0;
	u32 flags = MP_SUBFLOW;
	struct close_record *m;

	if (!msk) {
		/* A child that nobody accepted loses its context before it is closed (mptcp_subflow_drop_ctx). */
		if (c && c->mptcp) {
			r->layer = LAYER_MPTCP;
			r->mptcp_flags = c->mptcp;
			r->mptcp_conn = c->pid ? 0 : c->cgroup;
			/* A key of 0 would find a free slot. */
			m = r->mptcp_conn ? closed_at(closed_slot(r->mptcp_conn)) : 0;
			r->mptcp_token = m ? m->mptcp_token : 0;
		}
		return;
	}
	r->mptcp_conn = msk;
	r->mptcp_token = FIELD(u32, ctx, OFF_SUBFLOW_TOKEN);
	if (is_plain(ctx, msk)) {
		r->layer = LAYER_NONE;
		stands_for(r, msk);
		return;
	}
	if (BIT_OF(ctx, SUBFLOW_MP_JOIN) || BIT_OF(ctx, SUBFLOW_REQUEST_JOIN))
		flags |= MP_JOIN;
	if (BIT_OF(ctx, SUBFLOW_BACKUP))
		flags |= MP_BACKUP;
	if (goes_on(msk))
		flags |= MP_WENT_ON;
	if (FIELD(u8, msk, OFF_MSK_RCV_FASTCLOSE))
		flags |= MP_FASTCLOSE_IN;
#ifdef HAVE_MPTCP_FASTCLOSE
	if (BIT_OF(ctx, SUBFLOW_SEND_FASTCLOSE))
		flags |= MP_FASTCLOSE_OUT;
#endif
#ifdef HAVE_MPTCP_RESET
	if (BIT_OF(ctx, SUBFLOW_RESET_SEEN)) {
		flags |= MP_RESET_SEEN;
		r->mptcp_reset = BIT_OF(ctx, SUBFLOW_RESET_REASON);
	}
#endif
	r->mptcp_local_id = FIELD(u8, ctx, OFF_SUBFLOW_LOCAL_ID);
	r->mptcp_remote_id = FIELD(u8, ctx, OFF_SUBFLOW_REMOTE_ID);
	r->mptcp_flags = flags;
	if (!r->pid || r->owner_from == OWNER_KERNEL)
		owner_of_connection(r, msk);
}
#else
static __always_inline void load_subflow(struct close_record *r, const void *sk,
					 const struct conn *c)
{
}
#endif
