/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Single events of timewait sockets, and whose connections they come from. */
#ifdef WANT_EVENTS

#ifdef WANT_TIMEWAITS
/* Whose connection left a timewait socket behind: it has no owner itself. */
struct tw_owner {
	u64 born;
	u64 cgroup;
	u32 pid;
	u32 uid;
	u8 comm[16];
	u32 flags; /* F_CLIENT, F_SERVER; F_DONE: the peer's FIN was met, another one is a repetition */
	u32 owner_from;
#ifndef HAVE_RX_SK
	u64 tw; /* the timewait socket: here a packet does not tell which one it met */
#endif
};

BPF_TABLE("lru_hash", u64, struct tw_owner, tw_owners, TW_OWNERS);

/*
 * The event and the entry of the owner cache are built in separate functions: both at once are too much for the stack.
 */
static __always_inline void tw_began_send(const struct close_record *r, const struct tuple *t,
					  u8 code, u64 now)
{
	struct event_record *e;

	e = event_begin();
	if (!e)
		return;
	e->at = now;
	e->born = now;
	e->sk = r->sk;
	e->kind = EVENT_TIMEWAIT;
	e->code = code;
	e->flags = r->flags & (F_CLIENT | F_SERVER);
	e->pid = r->pid;
	e->uid = r->uid;
	e->owner_from = r->owner_from;
	e->cgroup = r->cgroup;
	__builtin_memcpy(e->comm, r->comm, sizeof(e->comm));
	event_tuple(e, t);
	event_send(e);
}

static __always_inline void tw_owner_remember(const struct close_record *r, const struct tuple *t,
					      const void *tw, u8 code, u64 now)
{
	struct tw_owner c = {}, *before;
	u64 key = tuple_key(t);

	c.born = now;
	c.cgroup = r->cgroup;
	c.pid = r->pid;
	c.uid = r->uid;
	/* Another CPU may meet the FIN of a timewait socket that began in FIN_WAIT2 before this event is sent. */
	c.flags = r->flags & (F_CLIENT | F_SERVER | F_DONE);
	c.owner_from = r->owner_from;
	__builtin_memcpy(c.comm, r->comm, sizeof(c.comm));
	if (code == TIMEWAIT_ENTERED) {
		before = tw_owners.lookup(&key);
		c.flags |= before && r->flags & F_TW_FIN_WAIT2 ? before->flags & F_DONE : 0;
	}
#ifndef HAVE_RX_SK
	c.tw = (u64)tw;
#endif
	tw_owners.update(&key, &c);
}

/* TIME_WAIT (or its FIN_WAIT2) begins, or should have: an event with the owner of its connection. */
static __always_inline void tw_began(const struct close_record *r, const struct tuple *t,
				     const void *tw, u8 code)
{
	u64 now = bpf_ktime_get_ns();

	tw_began_send(r, t, code, now);
	if (code != TIMEWAIT_OVERFLOW)
		tw_owner_remember(r, t, tw, code, now);
}

static __always_inline void tw_event_fill(struct event_record *e, const struct tuple *t, u8 last)
{
	u64 key = tuple_key(t);
	struct tw_owner *c = tw_owners.lookup(&key);

	e->at = bpf_ktime_get_ns();
	event_tuple(e, t);
	if (!c)
		return;
	e->born = c->born;
	e->cgroup = c->cgroup;
	e->pid = c->pid;
	e->uid = c->uid;
	e->flags |= c->flags & (F_CLIENT | F_SERVER);
	e->owner_from = c->owner_from;
	__builtin_memcpy(e->comm, c->comm, sizeof(e->comm));
	if (last)
		tw_owners.delete(&key);
}

/*
 * Is a FIN that meets this TIME_WAIT a repetition? Not the one that began it. Of a TIME_WAIT that was not seen to begin
 * it is unknown.
 */
static __always_inline int fin_again(const struct tuple *t)
{
	u64 key = tuple_key(t);
	struct tw_owner *c = tw_owners.lookup(&key);

	if (!c || c->flags & F_DONE)
		return c != 0;
	c->flags |= F_DONE;
	return 0;
}

static __always_inline void timewait_event_of(const struct tuple *t, const void *tw, u8 code,
					      u8 last)
{
	struct event_record *e;

	e = event_begin();
	if (!e)
		return;
	e->kind = EVENT_TIMEWAIT;
	e->code = code;
	e->sk = (u64)tw;
	tw_event_fill(e, t, last);
	event_send(e);
}

/* Something happened to a timewait socket. */
static __always_inline void timewait_event(const void *tw, u8 code, u8 last)
{
	struct tuple t;

	tuple_of_common(&t, tw);
	timewait_event_of(&t, tw, code, last);
}

/* A FIN has met a timewait socket in TIME_WAIT. */
static __always_inline void fin_event(const void *tw)
{
	struct tuple t;

	tuple_of_common(&t, tw);
	if (fin_again(&t))
		timewait_event_of(&t, tw, TIMEWAIT_REACKED, 0);
}

/* A new connection has the tuple of a TIME_WAIT that never expired: it took it over. */
static __always_inline void reuse_event(const void *sk, u8 code)
{
	struct event_record *e;
	struct tuple t;
	u64 key;

	tuple_of_common(&t, sk);
	key = tuple_key(&t);
	if (!tw_owners.lookup(&key))
		return;
	e = event_begin();
	if (!e)
		return;
	e->kind = EVENT_TIMEWAIT;
	e->code = code;
	e->sk = (u64)sk;
	tw_event_fill(e, &t, 1);
	event_send(e);
}
#endif

#ifdef WANT_DROPS
/* A segment for a TIME_WAIT with a timestamp from the past. */
static __always_inline void tw_drop_event(const void *tw, const void *skb, u32 reason)
{
	struct event_record *e;
	struct tuple t;

	e = event_begin();
	if (!e)
		return;
	e->kind = EVENT_DROP;
	e->from = TCP_TIME_WAIT;
	e->sk = (u64)tw;
	tuple_of_common(&t, tw);
#ifdef WANT_TIMEWAITS
	tw_event_fill(e, &t, 0);
#else
	e->at = bpf_ktime_get_ns();
	event_tuple(e, &t);
#endif
	drop_send(e, skb, DROP_PAWS_TIMEWAIT, reason);
}
#endif
#endif
