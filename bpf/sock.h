/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * From a struct sock to a close record. load_facts() is written by the planner: it reads the fields of
 * tracetw/kernel/layout.py in a few wide reads, since one bpf_probe_read_kernel costs more than the bytes.
 */

#define SHUT_BOTH (SHUT_RECEIVE | SHUT_SEND)

/* What identifies a connection end where there is no socket address: its tuple and namespace. */
struct tuple {
	u64 local[2];
	u64 remote[2];
	u64 net;
	u32 ports; /* local << 16 | remote, host order */
	u32 family;
};

static __always_inline u64 tuple_key(const struct tuple *t)
{
	u64 key = t->local[0] * 0x9E3779B97F4A7C15ull ^ t->remote[0];

	if (t->family == AF_INET6) {
		key = (key ^ key >> 29) * 0xBF58476D1CE4E5B9ull + t->local[1];
		key = (key ^ key >> 31) * 0x94D049BB133111EBull + t->remote[1];
	}
	key = (key ^ key >> 32) * 0xBF58476D1CE4E5B9ull ^ t->net;
	key = (key ^ key >> 29) * 0x94D049BB133111EBull + ((u64)t->ports << 16 | t->family);
	key ^= key >> 32;
	/* The lower bits as an address has them, see slot_at(). */
	return (key & ~7ull) | 1ull << 63 | (t->net & 7);
}

/*
 * A dual-stack socket has ::ffff:a.b.c.d where the packet on the wire has a.b.c.d: one tuple, one key. The third
 * 32-bit word of a mapped address is 0x0000ffff in network order.
 */
static __always_inline void tuple_unmap(struct tuple *t)
{
	u64 other = nonzero((t->family ^ AF_INET6) | t->local[0] | t->remote[0] |
			    ((u32)t->local[1] ^ 0xffff0000) | ((u32)t->remote[1] ^ 0xffff0000));
	u64 mapped = other - 1;

	/* All bits or none. */
	OPAQUE(mapped);
	t->family ^= (AF_INET ^ AF_INET6) & mapped;
	t->local[0] |= t->local[1] >> 32 & mapped;
	t->local[1] &= ~mapped;
	t->remote[0] |= t->remote[1] >> 32 & mapped;
	t->remote[1] &= ~mapped;
}

/* 0 where both are the same. No branch for each field: see OPAQUE. */
static __always_inline u64 tuples_differ(const struct tuple *a, const struct tuple *b)
{
	u64 bits = (a->net ^ b->net) | (a->ports ^ b->ports) | (a->family ^ b->family) |
		   (a->local[0] ^ b->local[0]) | (a->local[1] ^ b->local[1]) |
		   (a->remote[0] ^ b->remote[0]) | (a->remote[1] ^ b->remote[1]);

	OPAQUE(bits);
	return bits;
}

static __always_inline void tuple_of_record(struct tuple *t, const struct close_record *r, u64 net)
{
	t->local[0] = ((u64 *)r->laddr)[0];
	t->local[1] = ((u64 *)r->laddr)[1];
	t->remote[0] = ((u64 *)r->raddr)[0];
	t->remote[1] = ((u64 *)r->raddr)[1];
	t->net = net;
	t->ports = (u32)r->lport << 16 | r->rport;
	t->family = r->family;
	tuple_unmap(t);
}

/* struct inet_timewait_sock begins with the same sock_common as a full socket. */
static __always_inline void tuple_of_common(struct tuple *t, const void *sk)
{
	t->family = GET(u16, sock_common, sk, OFF_SKC_FAMILY);
	t->net = FIELD(u64, sk, OFF_SKC_NET);
	t->ports = (u32)GET(u16, sock_common, sk, OFF_SKC_NUM) << 16 |
		   bpf_ntohs(GET(u16, sock_common, sk, OFF_SKC_DPORT));
	if (t->family == AF_INET6) {
		bpf_probe_read_kernel(t->local, 16, sk + OFF_SKC_V6_RCV_SADDR);
		bpf_probe_read_kernel(t->remote, 16, sk + OFF_SKC_V6_DADDR);
		tuple_unmap(t);
	} else {
		t->local[0] = GET(u32, sock_common, sk, OFF_SKC_RCV_SADDR);
		t->local[1] = 0;
		t->remote[0] = GET(u32, sock_common, sk, OFF_SKC_DADDR);
		t->remote[1] = 0;
	}
}

/* sysctls that set a limit, only read where one ran out. */
static __always_inline void load_sysctls(struct close_record *r, u64 net)
{
	r->fin_timeout = GET(u32, net, net, OFF_SYSCTL_FIN_TIMEOUT);
	r->sysctl_retries2 = GET(u8, net, net, OFF_SYSCTL_RETRIES2);
	r->sysctl_orphan_retries = GET(u8, net, net, OFF_SYSCTL_ORPHAN_RETRIES);
	r->sysctl_keepalive_probes = GET(u8, net, net, OFF_SYSCTL_KEEPALIVE_PROBES);
	r->flags |= F_SYSCTL;
}

/*
 * Whether a socket that was shut down both ways before is still open. close() shuts both ways down itself
 * (__tcp_close), and differs from connect(AF_UNSPEC) only in that it runs when the last reference to the file is gone
 * (__fput, sock_close). Of a socket of the kernel's own that has no file it remains unknown.
 */
static __always_inline u8 file_held(u64 socket)
{
	u64 file = GET(u64, socket, socket, OFF_SOCKET_FILE);

	return file && GET(s64, file, file, OFF_FILE_REFS) >= FILE_REFS_HELD ? SHUT_FILE_HELD : 0;
}

/* SOCK_BINDADDR_LOCK, SOCK_BINDPORT_LOCK (include/net/sock.h); SK_CAN_REUSE. A listener's child has no port lock. */
static __always_inline u8 bound(const void *sk)
{
	u8 locks = GET(u8, sock, sk, OFF_SK_USERLOCKS) >> SHIFT_SK_USERLOCKS;
	u8 reuse = GET(u8, sock_common, sk, OFF_SK_REUSE) >> SHIFT_SK_REUSE & 15;
	u8 bits = BIND_KNOWN;

	if (locks & 8)
		bits |= BIND_PORT;
	if (locks & 4)
		bits |= BIND_ADDR;
	if (reuse == 1)
		bits |= BIND_REUSEADDR;
	return bits;
}

/*
 * All facts that the socket has at its end. Called at ->CLOSE, before tcp_disconnect() or the
 * application can change it; queues are purged by then in error paths, sequence numbers are not.
 * Returns 0 when this is no TCP socket.
 */
static __always_inline int load_socket(struct close_record *r, const void *sk, u32 from)
{
	struct facts f;
	u32 flags = F_ADDR;
	u32 jiffies = (u32)bpf_jiffies64();
	u32 last;
	u8 traits = T_READ;

	load_facts(&f, r, sk);
	if (f.protocol != IPPROTO_TCP)
		return 0;
	r->sk = (u64)sk;
	r->family = f.family;
	if (f.family == AF_INET6) {
		((u64 *)r->laddr)[0] = f.v6_local0;
		((u64 *)r->laddr)[1] = f.v6_local1;
		((u64 *)r->raddr)[0] = f.v6_remote0;
		((u64 *)r->raddr)[1] = f.v6_remote1;
	} else {
		((u64 *)r->laddr)[0] = f.local;
		((u64 *)r->laddr)[1] = 0;
		((u64 *)r->raddr)[0] = f.remote;
		((u64 *)r->raddr)[1] = 0;
	}
	r->lport = bpf_ntohs(f.sport);
	r->rport = bpf_ntohs(f.dport);
	r->netns = GET(u32, net, f.net, OFF_NET_INUM);
	r->old_state = from;
	r->end = END_NONE;
	r->err = f.err;
	r->err_soft = f.err_soft;
	if (f.sk_flags & 1ull << BIT_SOCK_DEAD)
		flags |= F_DEAD;
	if (f.sk_flags & 1ull << BIT_SOCK_DONE)
		flags |= F_DONE;
	if (f.sk_flags & 1ull << BIT_SOCK_LINGER && !f.lingertime)
		flags |= F_LINGER0;
	if (f.rx_opt & 1u << BIT_TSTAMP_OK)
		flags |= F_TS_OK;
	if (f.rx_opt & 1u << BIT_SAW_TSTAMP)
		flags |= F_TS_SEEN;
	if (f.owned)
		flags |= F_OWNED;
	if (r->snd_una == r->write_seq)
		flags |= F_FIN_ACKED;
	r->inode = 0;
	if (f.socket) {
		flags |= F_SOCKET;
		/* Inside close() the owner is at hand; ss -K holds the lock of somebody else's socket. */
		if (!f.owned || f.err)
			r->inode = GET(u64, socket_alloc, f.socket, OFF_SOCKET_INO);
		/* Only after shutdown() is it in these states. */
		else if (r->shutdown == SHUT_BOTH &&
			 (from == TCP_FIN_WAIT1 || from == TCP_FIN_WAIT2 || from == TCP_CLOSING ||
			  from == TCP_LAST_ACK))
			r->shutdown |= file_held(f.socket);
	}
	last = (s32)(f.lrcvtime - f.rcv_tstamp) > 0 ? f.lrcvtime : f.rcv_tstamp;
	r->idle = last ? jiffies - last : 0;
	r->quiet = last ? jiffies - last : SINCE_UNKNOWN;
	r->since_sent = r->bytes_sent ? jiffies - f.lsndtime : SINCE_UNKNOWN;
	r->since_received = r->bytes_received ? jiffies - f.lrcvtime : SINCE_UNKNOWN;
	/* Else it was before a FIN: the history has it. */
	if (from == TCP_ESTABLISHED)
		traits |= T_QUIET;
	if (f.sk_flags & 1ull << BIT_SOCK_KEEPOPEN)
		traits |= T_KEEPALIVE;
	/* tcp_recvmsg_locked() clears urg_data once the application has read past the byte. */
	if (f.urg_data) {
		u32 urgent = GET(u32, tcp_sock, sk, OFF_TCP_URG_SEQ);

		if ((s32)(urgent - r->copied_seq) >= 0 && (s32)(r->rcv_nxt - urgent) > 0)
			traits |= T_URGENT;
	}
	r->layer = f.ulp ? ulp_layer(f.ulp) : LAYER_NONE;
	if (r->layer == LAYER_NONE && f.user_data && has_psock(sk, f.user_data))
		r->layer = LAYER_SOCKMAP;
	if (f.sacked_out)
		traits |= T_SACKED;
	r->traits = traits;
	r->mss = f.mss > 65535 ? 65535 : f.mss;
	r->bind = bound(sk);
	r->probing = f.probes_tstamp ? jiffies - f.probes_tstamp : 0;
	r->flags = flags;
	r->fin_timeout = 0;
	r->sysctl_retries2 = 0;
	r->sysctl_orphan_retries = 0;
	r->sysctl_keepalive_probes = 0;
	if (f.err || from == TCP_FIN_WAIT2)
		load_sysctls(r, f.net);
	return 1;
}

/*
 * When the packet that is just being processed came: tcp_rcv_established() and tcp_rcv_state_process() begin with
 * tcp_mstamp_refresh(), the same clock in ns, and reading the clock costs more than all the rest. Two segments never
 * have the same.
 */
static __always_inline u64 packet_time(const void *sk)
{
	return GET(u64, tcp_sock, sk, OFF_TCP_CLOCK);
}

/*
 * Before the first FIN, ours or the peer's: for how long was it quiet? The peer's FIN has already counted as a segment
 * (tcp_ack() sets rcv_tstamp) and as one of bytes_received; only data sets lrcvtime and lsndtime.
 */
static __always_inline void quiet_before_fin(struct conn *c, const void *sk, u32 to)
{
	u32 jiffies = (u32)bpf_jiffies64();
	u32 received = GET(u32, inet_connection_sock, sk, OFF_ICSK_LRCVTIME);
	u32 acked = GET(u32, tcp_sock, sk, OFF_TCP_RCV_TSTAMP);
	u32 fin = to == TCP_CLOSE_WAIT;

	c->since_sent = GET(u64, tcp_sock, sk, OFF_TCP_BYTES_SENT)
				? jiffies - GET(u32, tcp_sock, sk, OFF_TCP_LSNDTIME)
				: SINCE_UNKNOWN;
	c->since_received = GET(u64, tcp_sock, sk, OFF_TCP_BYTES_RECEIVED) > fin
				    ? jiffies - received
				    : SINCE_UNKNOWN;
	c->quiet = fin ? SINCE_UNKNOWN : jiffies - ((s32)(received - acked) > 0 ? received : acked);
	c->traits |= T_QUIET;
}

/* What was seen of it while it lived. */
static __always_inline void load_history(struct close_record *r, const struct conn *c)
{
	u32 steps = c ? c->steps : 0;

	r->at[0] = steps > 0 ? c->at[0] : 0;
	r->at[1] = steps > 1 ? c->at[1] : 0;
	r->at[2] = steps > 2 ? c->at[2] : 0;
	r->at[3] = steps > 3 ? c->at[3] : 0;
	r->at[4] = steps > 4 ? c->at[4] : 0;
	r->at[5] = 0;
	if (!c) {
		r->path = 0;
		r->pid = 0;
		r->fin_retrans = 0;
		r->backoff = 0;
		r->owner_from = OWNER_NONE;
		r->reset_reason = 0;
		r->ttl = 0;
		r->rst_ttl = 0;
		r->icmp_from = 0;
	} else {
		r->path = c->path;
		r->flags |= c->flags;
		r->pid = c->pid;
		r->fin_retrans = c->fin_retrans;
		r->backoff = c->backoff;
		r->owner_from = c->owner_from;
		r->reset_reason = c->reset_reason;
		r->ttl = c->ttl;
		r->rst_ttl = c->rst_ttl;
		r->icmp_from = c->icmp_from;
		r->traits |= c->traits;
		if (c->traits & T_QUIET) {
			r->quiet = c->quiet;
			r->since_sent = c->since_sent;
			r->since_received = c->since_received;
		}
	}
	/* Filled by those who know of them. */
	r->mptcp_conn = 0;
	r->mptcp_token = 0;
	r->mptcp_flags = 0;
	r->mptcp_local_id = 0;
	r->mptcp_remote_id = 0;
	r->mptcp_reset = 0;
	r->refused = c ? c->refused : 0;
	r->refused_reason = c ? c->refused_reason : 0;
	if (c && r->old_state == TCP_SYN_SENT && !r->err && c->icmp_error)
		r->err_soft = c->icmp_error;
	/*
	 * The timer reports what an ICMP error left in sk_err_soft, and is not pending then (tcp_write_timer_handler).
	 * With the timer pending the ICMP error itself ended the attempt (tcp_v4_err, tcp_v6_err).
	 */
	if (r->old_state == TCP_SYN_SENT && r->err &&
	    GET(u8, inet_connection_sock, r->sk, OFF_ICSK_PENDING))
		r->err_soft = 0;
	r->exit_code = c && c->flags & F_EXITING ? c->exit_code : 0;
	if (c && c->pid) {
		r->cgroup = c->cgroup;
		__builtin_memcpy(r->comm, c->comm, sizeof(r->comm));
	} else {
		r->cgroup = 0;
		__builtin_memset(r->comm, 0, sizeof(r->comm));
	}
}

/*
 * The last store to a record that user space may read where it lies: what has F_CLOSED is whole.
 */
static __always_inline void record_whole(struct close_record *r)
{
	asm volatile("" ::: "memory");
	r->flags |= F_CLOSED;
}

/*
 * The last state and its time: the sixth at most, after CONN_STEPS of the history. at[] is written by position, since
 * the verifier wants constant places.
 */
static __always_inline void record_step(struct close_record *r, u32 state, u64 now)
{
	if (!r->at[0])
		r->at[0] = now;
	else if (!r->at[1])
		r->at[1] = now;
	else if (!r->at[2])
		r->at[2] = now;
	else if (!r->at[3])
		r->at[3] = now;
	else if (!r->at[4])
		r->at[4] = now;
	else
		r->at[5] = now;
	r->path = r->path << 4 | state;
}

/* Inside a call on the socket: close(), or connect(AF_UNSPEC). */
static __always_inline int in_call(const struct close_record *r)
{
	return (r->flags & (F_DEAD | F_SOCKET | F_OWNED)) == (F_SOCKET | F_OWNED) && !r->err;
}
