/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Who sent an ICMP error. tcp_v4_err() knows the packet and finds the socket itself; what it does to that socket is seen
 * later in the same softirq, without the packet. So each CPU remembers its last error, with the tuple that it quotes.
 * Of IPv6 a record has no room for an address: unknown.
 */
#ifdef HAVE_ICMP_ERROR
struct icmp_error {
	u32 from; /* network order, like local and remote */
	u32 local;
	u32 remote;
	u32 ports; /* as in struct tuple */
	u32 at; /* jiffies */
	u32 pad;
};

BPF_TABLE("percpu_array", u32, struct icmp_error, icmp_errors, 1);

/* Source of the error that this CPU has just got about this tuple; 0 none. */
static __always_inline u32 icmp_source(const struct tuple *t)
{
	u32 zero = 0;
	struct icmp_error *e = icmp_errors.lookup(&zero);

	if (!e || t->family != AF_INET || e->local != (u32)t->local[0] ||
	    e->remote != (u32)t->remote[0] || e->ports != t->ports ||
	    (u32)bpf_jiffies64() - e->at > 1)
		return 0;
	return e->from;
}

/* The same of a live socket: kept in its history. */
static __always_inline void keep_icmp_source(struct conn *c, const void *sk)
{
	struct tuple t;
	u32 from;

	tuple_of_common(&t, sk);
	from = icmp_source(&t);
	if (!from)
		return;
	c->icmp_from = from;
	c->traits |= T_ICMP;
}

/* Of a socket that the error has just ended. */
static __always_inline void load_icmp_source(struct close_record *r)
{
	struct tuple t;
	u32 from;

	if (!r->err)
		return;
	tuple_of_record(&t, r, 0);
	from = icmp_source(&t);
	if (!from)
		return;
	r->icmp_from = from;
	r->traits |= T_ICMP;
}
#else
#define keep_icmp_source(c, sk)
#define load_icmp_source(r)
#endif
