/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The tables: finding, taking and freeing their slots (slot.h). */

static __always_inline struct slot conn_slot(u64 sk)
{
	u32 set = first_set(sk, CONN_SETS);
	struct slot slot = slot_find(conn_keys.lookup(&set), set, sk);

	if (slot.key)
		return slot;
	set = second_set(sk, CONN_SETS);
	return slot_find(conn_keys.lookup(&set), set, sk);
}

static __always_inline struct place conn_place(u64 sk)
{
	u32 first = first_set(sk, CONN_SETS), second = second_set(sk, CONN_SETS);

	return emptier(conn_keys.lookup(&first), first, conn_keys.lookup(&second), second);
}

/*
 * The same where a socket without a slot has one, too: in the set behind the others, whose histories stay empty. What
 * follows knows no branch then, and the verifier walks it once.
 */
static __always_inline struct slot conn_slot_or_empty(u64 sk)
{
	u32 set = first_set(sk, CONN_SETS), way = way_of(conn_keys.lookup(&set), sk);

	if (way == WAYS) {
		set = second_set(sk, CONN_SETS);
		way = way_of(conn_keys.lookup(&set), sk);
	}
	if (way == WAYS) {
		set = CONN_SETS;
		way = 0;
	}
	return slot_at(conn_keys.lookup(&set), set, way, sk);
}

/* Free ways where a connection that has no slot would get one. */
static __always_inline u32 conn_room(u64 sk)
{
	return conn_place(sk).room;
}

static __always_inline struct conn *conn_at(u32 index)
{
	return conns.lookup(&index);
}

static __always_inline struct conn *conn_find(u64 sk)
{
	struct slot slot = conn_slot(sk);

	return slot.key ? conn_at(slot.index) : 0;
}

/*
 * A new life of this socket begins. If its previous life was never closed here, the tracepoints fired but no program
 * ran and the kernel counted no miss (seen on one kernel, in softirqs that interrupt a thread of its init): count it
 * as a lost end.
 */
static __always_inline void conn_begin(struct conn *c)
{
	if (c->steps)
		count(STAT_UNSEEN_ENDS);
	c->path = 0;
	c->flags = 0;
	c->pid = 0;
	/* steps, fin_retrans, backoff, owner_from, reset_reason, traits, ttl, rst_ttl */
	*(u64 *)&c->steps = 0;
	/* refused, refused_reason, icmp_error, syn_segments, syn_at */
	*(u64 *)&c->refused = 0;
	c->mptcp = 0;
	c->layer = 0;
}

/* What a slot is wanted for. */
enum occasion {
	FOR_BEGIN, /* a connection begins: once for each */
	FOR_LIFE,
	FOR_END, /* what is seen now decides the verdict or the owner */
};

static __always_inline u32 spared(enum occasion occasion)
{
	return occasion == FOR_END ? 0 : 2;
}

/*
 * The slot of this socket, a new one if it has none. The last two free ways of a set are for connections that are
 * about to end: so idle ones can take the history of others, but neither their reset nor their owner. What the filter rules
 * out gets no slot.
 */
static __always_inline struct conn *conn_open(u64 sk, enum occasion occasion)
{
	struct slot slot = conn_slot(sk);
	struct place place;
	struct conn *c;

	if (slot.key)
		return conn_at(slot.index);
	if (!may_pass((const void *)sk))
		return 0;
	place = conn_place(sk);
	if (place.room > spared(occasion))
		slot = slot_take(place.keys, place.set, sk, sk);
	if (!slot.key) {
		if (occasion != FOR_LIFE)
			count(occasion == FOR_BEGIN ? STAT_CONN_FULL : STAT_END_FULL);
		return 0;
	}
	c = conn_at(slot.index);
	if (c) {
		c->steps = 0;
		conn_begin(c);
	}
	return c;
}

/* The history goes. An empty one is only read, since all CPUs share it. */
static __always_inline void conn_free(struct slot slot)
{
	if (*slot.key)
		*slot.key = 0;
}

static __always_inline void conn_drop(u64 sk)
{
	struct slot slot = conn_slot(sk);

	if (slot.key)
		*slot.key = 0;
}

/* One more state. The first ones and the last are what a story needs, so a full path stops growing. */
static __always_inline void conn_step(struct conn *c, u32 state, u64 now)
{
	u32 n = c->steps;

	if (n >= CONN_STEPS)
		return;
	c->at[n] = now;
	c->path = c->path << 4 | state;
	c->steps = n + 1;
}

static __always_inline struct slot closed_slot(u64 sk)
{
	u32 set = first_set(sk, CLOSED_SETS);
	struct slot slot = slot_find(closed_keys.lookup(&set), set, sk);

	if (slot.key)
		return slot;
	set = second_set(sk, CLOSED_SETS);
	return slot_find(closed_keys.lookup(&set), set, sk);
}

static __always_inline struct close_record *closed_at(struct slot slot)
{
	return slot.key ? closed.lookup(&slot.index) : 0;
}

static __always_inline void closed_send(struct slot slot, struct close_record *r, u8 end)
{
	send_unless(closed_reported.lookup(&slot.index), r, end);
}

static __always_inline struct slot tw_slot(u64 key)
{
	u32 set = first_set(key, TW_SETS);
	struct slot slot = slot_find(tw_keys.lookup(&set), set, key);

	if (slot.key)
		return slot;
	set = second_set(key, TW_SETS);
	return slot_find(tw_keys.lookup(&set), set, key);
}

static __always_inline struct place tw_place(u64 key)
{
	u32 first = first_set(key, TW_SETS), second = second_set(key, TW_SETS);

	return emptier(tw_keys.lookup(&first), first, tw_keys.lookup(&second), second);
}

static __always_inline struct close_record *tw_at(struct slot slot)
{
	return slot.key ? timewaits.lookup(&slot.index) : 0;
}

static __always_inline void tw_send(struct slot slot, struct close_record *r, u8 end)
{
	send_unless(tw_reported.lookup(&slot.index), r, end);
}

/*
 * When a set is full, a new record takes a slot whose end no program saw, long after user space should have reported
 * it: a dead socket that is never closed, a timewait socket that vanished with its namespace (tcp_time_wait()). User
 * space may have been stopped all that time, so the record is sent: user space recognises those that it has reported.
 */
#define CLOSED_OLD_NS 10000000000ull
#define TW_OLD_NS 600000000000ull

static __always_inline int closed_before(const struct close_record *r, u64 then)
{
	return r->flags & F_CLOSED && r->at[AT_CLOSED] < then;
}

/* A slot of this set whose record is old, busy. */
static __always_inline struct slot closed_evict(struct keys *keys, u32 set, u64 key)
{
	u64 then = bpf_ktime_get_ns() - CLOSED_OLD_NS;
	struct slot none = {};
	u32 way;

	if (!keys)
		return none;
	for (way = 0; way < WAYS; way++) {
		u32 index = set * WAYS + way;
		struct close_record *r = closed.lookup(&index);
		u64 old = keys->key[way];

		if (r && old > KEY_BUSY && closed_before(r, then) &&
		    cmpxchg(&keys->key[way], old, KEY_BUSY))
			break;
	}
	return slot_at(keys, set, way, key);
}

/* A busy slot becomes that of this socket, empty. */
static __always_inline struct slot closed_start(struct slot slot, struct close_record *r, u64 sk)
{
	if (!r)
		return slot;
	r->flags = 0;
	*slot.key = sk;
	return slot;
}

/*
 * A slot behind the others, busy, for a record that found no room and is sent at once; no key where all of this CPU are
 * taken. slot_free() must follow. SPARE_SETS is a power of two: a set for each CPU that there was when the programs were
 * loaded, since several programs may be under way on one (place.h). In the table of the others, so that what follows
 * is the same for both, and the verifier walks it once.
 */
static __always_inline struct slot spare_take(u64 sk)
{
	u32 set = CLOSED_SETS + (bpf_get_smp_processor_id() & (SPARE_SETS - 1));

	return slot_take(closed_keys.lookup(&set), set, sk, KEY_BUSY);
}

static __always_inline int is_spare(struct slot slot)
{
	return slot.index >= CLOSED_SLOTS;
}

/*
 * The slot for this socket: the one it has, a free one, an old one. The last free way of a set is not for records that
 * wait until the application closes a dead socket, which may never happen.
 */
static __always_inline struct slot closed_take(u64 sk, int waits)
{
	u32 first = first_set(sk, CLOSED_SETS), second = second_set(sk, CLOSED_SETS);
	struct keys *keys = closed_keys.lookup(&first), *others = closed_keys.lookup(&second);
	struct slot slot = slot_find_in(keys, first, others, second, sk);
	struct close_record *r;
	struct place place;

	if (slot.key && cmpxchg(slot.key, sk, KEY_BUSY)) {
		r = closed_at(slot);
		/* Of an earlier socket at this address, whose destruction was missed. */
		if (r && r->flags & F_CLOSED)
			closed_send(slot, r, END_REUSE);
		return closed_start(slot, r, sk);
	}
	place = emptier(keys, first, others, second);
	slot.key = 0;
	if (place.room > (waits ? 1 : 0))
		slot = slot_take(place.keys, place.set, sk, sk);
	if (slot.key)
		return slot;
	slot = closed_evict(place.keys, place.set, sk);
	if (!slot.key)
		return spare_take(sk);
	r = closed_at(slot);
	if (r)
		closed_send(slot, r, END_PENDING);
	return closed_start(slot, r, sk);
}

/*
 * A slot for this tuple, busy until it is filled and given its key: where an earlier timewait socket of it
 * vanished unseen, a free one, an old one.
 */
static __always_inline struct slot tw_take(u64 key)
{
	struct slot slot = tw_slot(key);
	struct place place;
	u64 then;
	u32 way;

	if (slot.key && cmpxchg(slot.key, key, KEY_BUSY))
		return slot;
	place = tw_place(key);
	slot = slot_take(place.keys, place.set, key, KEY_BUSY);
	if (slot.key || !place.keys)
		return slot;
	then = bpf_ktime_get_ns() - TW_OLD_NS;
	for (way = 0; way < WAYS; way++) {
		u32 index = place.set * WAYS + way;
		struct close_record *r = timewaits.lookup(&index);
		u64 old = place.keys->key[way];

		if (r && old > KEY_BUSY && closed_before(r, then) &&
		    cmpxchg(&place.keys->key[way], old, KEY_BUSY))
			break;
	}
	return slot_at(place.keys, place.set, way, key);
}

/* A reader in user space believes a record that has F_CLOSED: flags go first. The key goes when all is done. */
static __always_inline void slot_free(struct slot slot, struct close_record *r)
{
	r->flags = 0;
	asm volatile("" ::: "memory");
	*slot.key = 0;
}

/*
 * Data that arrives after close() on an orphan: tcp_reset() destroys the socket and only then is the RST sent
 * (tcp_rcv_state_process, tcp_v4_do_rcv). The record waits for that on its CPU, where nothing else happens to
 * a connection in between. The next one that comes to wait sends it off, or user space takes it.
 */
static __always_inline void await_rst(struct close_record *r)
{
	u32 cpu = bpf_get_smp_processor_id() & (CPUS - 1);
	struct close_record *h = awaits_rst.lookup(&cpu);
	u64 *busy = awaits_rst_busy.lookup(&cpu);
	u32 flags = r->flags;

	/* Interrupted while another record comes or goes there. */
	if (!h || !busy || !cmpxchg(busy, 0, 1)) {
		send(r, END_DESTROY);
		return;
	}
	if (h->flags)
		send(h, END_DESTROY);
	/* User space believes a record that has flags: they come last. */
	h->flags = 0;
	r->flags = 0;
	__builtin_memcpy(h, r, sizeof(*h));
	h->end = END_DESTROY;
	asm volatile("" ::: "memory");
	h->flags = flags;
	*busy = 0;
	waits();
}

/* Whether this record waits for the RST of this socket: see rst_awaited(). */
static __always_inline int is_awaited_by(const struct close_record *h, const void *sk)
{
	return h->flags && h->sk == (u64)sk &&
	       GET(u8, sock_common, sk, OFF_SKC_STATE) == TCP_CLOSE &&
	       bpf_ntohs(GET(u16, sock_common, sk, OFF_SKC_DPORT)) == h->rport &&
	       bpf_ntohs(GET(u16, inet_sock, sk, OFF_INET_SPORT)) == h->lport &&
	       GET(u32, net, FIELD(u64, sk, OFF_SKC_NET), OFF_NET_INUM) == h->netns;
}

/*
 * Sends the record that waits for the RST of this socket; 0 where none does. The address alone does not say so: it is
 * free, and the next connection on this CPU gets it while the record waits for user space.
 */
static __always_inline int rst_awaited(const void *sk, u32 how, u8 reason)
{
	u32 cpu = bpf_get_smp_processor_id() & (CPUS - 1);
	struct close_record *h = awaits_rst.lookup(&cpu);
	u64 *busy = awaits_rst_busy.lookup(&cpu);
	int sent = 0;

	if (!h || !h->flags || h->sk != (u64)sk || !busy || !cmpxchg(busy, 0, 1))
		return 0;
	if (is_awaited_by(h, sk)) {
		h->flags |= how;
		h->reset_reason = reason;
		send(h, END_DESTROY);
		h->flags = 0;
		sent = 1;
	}
	*busy = 0;
	return sent;
}
