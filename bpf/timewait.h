/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The life after the full socket. tcp_time_wait() puts a struct inet_timewait_sock into the hash table
 * before tcp_done() closes the full socket, so that at the ->CLOSE event it is found there.
 */

/* Nodes looked at in one chain; it stands first as a rule. */
#define CHAIN_MAX 8

/* The timewait socket of this tuple; 0 when there is none. */
static __always_inline u64 tw_find(const struct tuple *wanted, const void *sk)
{
	u64 net = wanted->net;
#ifdef DEATH_ROW_IS_POINTER
	u64 row = FIELD(u64, net, OFF_NET_DEATH_ROW);
	u64 table = FIELD(u64, row, OFF_DEATH_ROW_HASHINFO);
#else
	u64 table = GET(u64, net, net, OFF_NET_DEATH_ROW + OFF_DEATH_ROW_HASHINFO);
#endif
	u64 buckets = FIELD(u64, table, OFF_HASHINFO_EHASH);
	u32 mask = GET(u32, inet_hashinfo, table, OFF_HASHINFO_EHASH_MASK);
	u32 hash = GET(u32, sock_common, sk, OFF_SKC_HASH);
	u64 node = FIELD(u64, buckets, (u64)(hash & mask) * SIZE_EHASH_BUCKET);

	for (int i = 0; i < CHAIN_MAX; i++) {
		const void *candidate = (const void *)(node - OFF_SKC_NULLS_NODE);
		struct tuple t;

		if (!node || node & 1)
			return 0;
		if (GET(u8, sock_common, candidate, OFF_SKC_STATE) == TCP_TIME_WAIT &&
		    GET(u32, sock_common, candidate, OFF_SKC_HASH) == hash) {
			tuple_of_common(&t, candidate);
			if (!tuples_differ(&t, wanted))
				return (u64)candidate;
		}
		node = FIELD(u64, node, 0);
	}
	return 0;
}

static __always_inline u8 tw_substate(const void *tw)
{
	return GET(u8, inet_timewait_sock, tw, OFF_TW_SUBSTATE);
}

/* The address of tw_timer_handler, from the timer of a timewait socket: no symbol table is needed. */
static __always_inline void learn_timer(u64 tw)
{
	u32 zero = 0;
	u64 *handler = learned.lookup(&zero);

	if (handler && !*handler)
		*handler = FIELD(u64, tw, OFF_TW_TIMER + OFF_TIMER_FUNCTION);
}

/* sk_nulls_del_node_init_rcu() clears pprev: the timewait socket has been taken down. */
static __always_inline int unhashed(const void *tw)
{
	return !FIELD(u64, tw, OFF_SKC_NULLS_NODE + 8);
}

/* The timewait socket in FIN_WAIT2 of this tuple ended: its record is complete. Sent once, even if two CPUs see it. */
static __always_inline void tw_end_of(const struct tuple *t, const void *tw, u8 end, u32 state,
				      u32 flags, u8 reason)
{
	u64 key = tuple_key(t);
	struct slot slot = tw_slot(key);
	struct close_record *r = tw_at(slot);

	if (!r || !cmpxchg(slot.key, key, KEY_BUSY))
		return;
	r->flags |= flags;
	r->reset_reason = reason;
	record_step(r, state, bpf_ktime_get_ns());
#ifdef WANT_TIMEWAITS
	if (end == END_FIN)
		tw_began(r, t, tw, TIMEWAIT_ENTERED);
#endif
	tw_send(slot, r, end);
	subflow_left(r);
	slot_free(slot, r);
}

static __always_inline void tw_end(const void *tw, u8 end, u32 state, u32 flags, u8 reason)
{
	struct tuple t;

	tuple_of_common(&t, tw);
	tw_end_of(&t, tw, end, state, flags, reason);
}
