/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Finding, taking and freeing slots of the tables, and sending a record off. */

/* What was found: the slot's key and its number; key 0 for nothing. */
struct slot {
	u64 *key;
	u32 index;
};

/* Slab objects are neighbours: multiply and take the top, so that they spread. */
static __always_inline u32 set_of(u64 key, u32 slots)
{
	return (u32)((key * 0x9E3779B97F4A7C15ull) >> 40) & (slots / WAYS - 1);
}

/*
 * The way of a slot that was found, for what follows: the same number, but one that the verifier does not know, or
 * it would walk all that follows once for each way. The low bits of a key are 0 (an aligned address, or so made).
 */
static __always_inline u32 some_way(u32 way, u64 key)
{
	return (way + (u32)key) & (WAYS - 1);
}

static __always_inline struct slot slot_find(struct keys *keys, u32 set, u64 wanted)
{
	struct slot found = {};
	u32 way;

	if (!keys)
		return found;
#pragma unroll
	for (way = 0; way < WAYS; way++) {
		if (keys->key[way] == wanted)
			break;
	}
	if (way == WAYS)
		return found;
	way = some_way(way, wanted);
	found.key = &keys->key[way];
	found.index = set * WAYS + way;
	return found;
}

/* A free slot for this key, marked. Two CPUs may reach for the same one: the loser looks on. */
static __always_inline struct slot slot_take(struct keys *keys, u32 set, u64 key, u64 mark)
{
	struct slot taken = {};
	u32 way;

	if (!keys)
		return taken;
#pragma unroll
	for (way = 0; way < WAYS; way++) {
		if (!keys->key[way] && swap(&keys->key[way], 0, mark))
			break;
	}
	if (way == WAYS)
		return taken;
	way = some_way(way, key);
	taken.key = &keys->key[way];
	taken.index = set * WAYS + way;
	return taken;
}

static __always_inline struct slot conn_slot(u64 sk)
{
	u32 set = set_of(sk, CONN_SLOTS);

	return slot_find(conn_keys.lookup(&set), set, sk);
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
 * A new life of this socket begins. If the one before is still open here, its last two state changes and its
 * destruction never ran our programs, and the kernel counted no miss. Seen under one kernel, which runs no programs
 * in softirqs that interrupt a thread of its init, while the tracepoints themselves fire.
 */
static __always_inline void conn_begin(struct conn *c)
{
	if (c->steps)
		count(STAT_UNSEEN_ENDS);
	c->path = 0;
	c->flags = 0;
	c->pid = 0;
	*(u64 *)&c->steps = 0;
}

/*
 * The slot of this socket, a new one if it has none. A full set loses the history of this connection, not the
 * record of its end.
 */
static __always_inline struct conn *conn_open(u64 sk)
{
	u32 set = set_of(sk, CONN_SLOTS);
	struct keys *keys = conn_keys.lookup(&set);
	struct slot slot = slot_find(keys, set, sk);
	struct conn *c;

	if (slot.key)
		return conn_at(slot.index);
	slot = slot_take(keys, set, sk, sk);
	if (!slot.key) {
		count(STAT_CONN_FULL);
		return 0;
	}
	c = conn_at(slot.index);
	if (c) {
		c->steps = 0;
		conn_begin(c);
	}
	return c;
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

static __always_inline struct slot closing_slot(u64 sk)
{
	u32 set = set_of(sk, CLOSING_SLOTS);

	return slot_find(closing_keys.lookup(&set), set, sk);
}

static __always_inline struct close_record *closing_at(struct slot slot)
{
	return slot.key ? closing.lookup(&slot.index) : 0;
}

static __always_inline struct slot mini_slot(u64 key)
{
	u32 set = set_of(key, MINI_SLOTS);

	return slot_find(mini_keys.lookup(&set), set, key);
}

static __always_inline struct close_record *mini_at(struct slot slot)
{
	return slot.key ? minis.lookup(&slot.index) : 0;
}

/*
 * Slots whose end nobody sees are taken again when their set is full, long after user space has reported them: a
 * dead socket that its application never closes (user space waits for it 0.2 s), and a mini-socket that vanished
 * (with its namespace; it lives max(tcp_fin_timeout, 3.5 RTO), tcp_time_wait()).
 */
#define CLOSING_OLD_NS 10000000000ull
#define MINI_OLD_NS 600000000000ull

/* Is the last step of this record before then? Without branches: the verifier would walk each. */
static __always_inline int older(const struct close_record *r, u64 then)
{
	u64 newer = (then - r->at[0]) | (then - r->at[1]) | (then - r->at[2]) | (then - r->at[3]) |
		    (then - r->at[4]) | (then - r->at[5]);

	return r->flags && !(newer >> 63);
}

static __always_inline struct slot closing_again(struct keys *keys, u32 set, u64 key)
{
	u64 then = bpf_ktime_get_ns() - CLOSING_OLD_NS;
	struct slot slot = {};
	u32 way;

	for (way = 0; way < WAYS; way++) {
		u32 index = set * WAYS + way;
		struct close_record *r = closing.lookup(&index);
		u64 old = keys->key[way];

		if (r && older(r, then) && swap(&keys->key[way], old, key)) {
			r->flags = 0;
			break;
		}
	}
	if (way == WAYS)
		return slot;
	way = some_way(way, key);
	slot.key = &keys->key[way];
	slot.index = set * WAYS + way;
	return slot;
}

/* The slot for this socket: the one it has, a free one, an old one. */
static __always_inline struct slot closing_take(u64 sk)
{
	u32 set = set_of(sk, CLOSING_SLOTS);
	struct keys *keys = closing_keys.lookup(&set);
	struct slot slot = slot_find(keys, set, sk);

	if (!slot.key)
		slot = slot_take(keys, set, sk, sk);
	if (!slot.key && keys)
		slot = closing_again(keys, set, sk);
	return slot;
}

/*
 * A slot for this tuple, busy until it is filled and given its key: where an earlier mini-socket of it vanished
 * unseen, a free one, an old one.
 */
static __always_inline struct slot mini_take(u64 key)
{
	u32 set = set_of(key, MINI_SLOTS);
	struct keys *keys = mini_keys.lookup(&set);
	struct slot slot = slot_find(keys, set, key);
	u64 then;
	u32 way;

	if (slot.key && swap(slot.key, key, KEY_BUSY))
		return slot;
	slot = slot_take(keys, set, key, KEY_BUSY);
	if (slot.key || !keys)
		return slot;
	then = bpf_ktime_get_ns() - MINI_OLD_NS;
	for (way = 0; way < WAYS; way++) {
		u32 index = set * WAYS + way;
		struct close_record *r = minis.lookup(&index);
		u64 old = keys->key[way];

		if (r && old != KEY_BUSY && older(r, then) && swap(&keys->key[way], old, KEY_BUSY))
			break;
	}
	if (way == WAYS)
		return slot;
	way = some_way(way, key);
	slot.key = &keys->key[way];
	slot.index = set * WAYS + way;
	return slot;
}

/* A reader in user space believes a record that has F_CLOSED: flags go first. */
static __always_inline void slot_free(struct slot slot, struct close_record *r)
{
	r->flags = 0;
	*slot.key = 0;
}

/* Without a flag the kernel wakes the reader only if it had read everything before: never in a storm. */
static __always_inline void send(struct close_record *r, u8 end)
{
	r->end = end;
	if (closes.ringbuf_output(r, sizeof(*r), 0))
		count(STAT_LOST_CLOSES);
}

/*
 * Data that arrives after close() on an orphan: tcp_reset() destroys the socket and only then is the RST sent
 * (tcp_rcv_state_process, tcp_v4_do_rcv). The record waits for that on its CPU, where nothing else happens to
 * a connection in between. The next one that comes to wait sends it off, or user space takes it.
 */
static __always_inline void hold(const struct close_record *r)
{
	u32 cpu = bpf_get_smp_processor_id() & (CPUS - 1);
	struct close_record *h = held.lookup(&cpu);

	if (!h)
		return;
	if (h->flags)
		send(h, END_DESTROY);
	__builtin_memcpy(h, r, sizeof(*h));
	h->end = END_DESTROY;
}

/*
 * The record that waits for the RST of this socket. The address alone does not say so: it is free, and the next
 * connection on this CPU gets it while the record waits for user space.
 */
static __always_inline struct close_record *held_for(const void *sk)
{
	u32 cpu = bpf_get_smp_processor_id() & (CPUS - 1);
	struct close_record *h = held.lookup(&cpu);

	if (!h || !h->flags || h->sk != (u64)sk)
		return 0;
	return GET(u8, sock_common, sk, OFF_SKC_STATE) == TCP_CLOSE &&
			       bpf_ntohs(GET(u16, sock_common, sk, OFF_SKC_DPORT)) == h->rport &&
			       bpf_ntohs(GET(u16, inet_sock, sk, OFF_INET_SPORT)) == h->lport &&
			       GET(u32, net, FIELD(u64, sk, OFF_SKC_NET), OFF_NET_INUM) == h->netns
		       ? h
		       : 0;
}
