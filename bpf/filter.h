/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The part of the filter that the kernel evaluates. Its values are in an array map that only user space can write, and
 * that is frozen before the programs are loaded: the verifier takes what they read from it as constants
 * (Linux kernel commit a23740ec43ba ("bpf: Track contents of read-only maps as scalars") (in v5.5)), so it removes
 * the code of every kind without values, and one byte code serves all filters.
 */
#ifdef FILTERED
struct filter {
	struct filter_values wanted;
	struct filter_values unwanted;
};

BPF_F_TABLE("array", u32, struct filter, filter, 1, BPF_F_RDONLY_PROG);

/* What a filter asks of one end. */
struct ends {
	const u32 *laddr;
	const u32 *raddr;
	u32 netns;
	u16 lport;
	u16 rport;
	u16 family;
	u8 readable; /* 1: the addresses are known */
};

/*
 * What follows here is 0 or 1, and computed without a branch that depends on the connection (OPAQUE, opaque.h). An
 * index is opaque, too: the compiler would turn it into a pointer, and compare that with the end of the array: the
 * verifier knows numbers that are constant, and so when a loop ends, but no such pointers.
 */

/* Of 32 bits. */
static __always_inline u64 is_zero(u64 bits)
{
	OPAQUE(bits);
	bits = (bits - 1) >> 63;
	OPAQUE(bits);
	return bits;
}

static __always_inline u64 in_range(u64 port, u32 range)
{
	u64 below = port - (range >> 16), above = (range & 0xffff) - port;

	OPAQUE(below);
	return ~(below | above) >> 63;
}

static __always_inline u64 in_ports(const u32 *ranges, u32 count, u32 port, u32 other)
{
	u64 found = 0;

	for (u32 i = 0; i < count; i++) {
		OPAQUE(i);
		found |= in_range(port, ranges[i]) | in_range(other, ranges[i]);
	}
	return found;
}

static __always_inline u64 in_netns(const struct filter_values *v, u32 netns)
{
	u64 found = 0;

	for (u32 i = 0; i < v->netns_count; i++) {
		OPAQUE(i);
		found |= is_zero(netns ^ v->netns[i]);
	}
	return found;
}

/* ::ffff:a.b.c.d, of a dual-stack socket: it counts as IPv4. */
static __always_inline u64 is_mapped(const u32 *words)
{
	return is_zero(words[0] | words[1] | (words[2] ^ 0xffff0000));
}

static __always_inline u64 is_ipv4(const struct ends *e)
{
	return is_zero(e->family ^ AF_INET) | (is_mapped(e->laddr) & is_mapped(e->raddr));
}

/* An IPv4 address is in the first word; the others are zero. */
static __always_inline u64 in_nets(const struct filter_values *v, const u32 *words, u16 family)
{
	u64 mapped = is_mapped(words), four = mapped | is_zero(family ^ AF_INET);
	u32 address = words[0] | (words[3] & -(u32)mapped);
	u64 in4 = 0, in6 = 0;
	const u32 *net;

	for (u32 i = 0; i < v->nets4_count; i++) {
		OPAQUE(i);
		net = v->nets4 + i * 2;
		in4 |= is_zero((address & net[1]) ^ net[0]);
	}
	for (u32 i = 0; i < v->nets6_count; i++) {
		OPAQUE(i);
		net = v->nets6 + i * 8;
		in6 |= is_zero(((words[0] & net[4]) ^ net[0]) | ((words[1] & net[5]) ^ net[1]) |
			       ((words[2] & net[6]) ^ net[2]) | ((words[3] & net[7]) ^ net[3]));
	}
	return (in4 & four) | (in6 & ~four);
}

static __always_inline u64 netns_passes(const struct filter *f, const struct ends *e)
{
	u64 pass = !f->wanted.netns_count;

	return (pass | in_netns(&f->wanted, e->netns)) & ~in_netns(&f->unwanted, e->netns);
}

/* Ports (no range has 0), addresses and family. With begun, a local end that is zero may still become anything. */
static __always_inline u64 ends_pass(const struct filter *f, const struct ends *e, int begun)
{
	const struct filter_values *w = &f->wanted, *u = &f->unwanted;
	const u64 *laddr = (const u64 *)e->laddr;
	u64 open_port = 0, open_address = 0, pass = 1;

	if (begun) {
		u64 bits = laddr[0] | laddr[1];

		open_port = is_zero(e->lport);
		open_address = is_zero((u32)bits | bits >> 32);
	}
	if (w->ports_count)
		pass &= open_port | in_ports(w->ports, w->ports_count, e->lport, e->rport);
	if (w->local_ports_count)
		pass &= open_port |
			in_ports(w->local_ports, w->local_ports_count, e->lport, e->lport);
	if (w->remote_ports_count)
		pass &= in_ports(w->remote_ports, w->remote_ports_count, e->rport, e->rport);
	if (w->nets4_count | w->nets6_count)
		pass &= open_address | (e->readable & (in_nets(w, e->laddr, e->family) |
						       in_nets(w, e->raddr, e->family)));
	if (w->family)
		pass &= open_address | (is_ipv4(e) ^ (w->family == 6));
	if (u->ports_count)
		pass &= ~in_ports(u->ports, u->ports_count, e->lport, e->rport);
	if (u->local_ports_count)
		pass &= ~in_ports(u->local_ports, u->local_ports_count, e->lport, e->lport);
	if (u->remote_ports_count)
		pass &= ~in_ports(u->remote_ports, u->remote_ports_count, e->rport, e->rport);
	if (u->nets4_count | u->nets6_count)
		pass &= ~(e->readable & ((in_nets(u, e->laddr, e->family) & ~open_address) |
					 in_nets(u, e->raddr, e->family)));
	return pass;
}

static __always_inline int passes(const struct ends *e)
{
	u32 zero = 0;
	const struct filter *f = filter.lookup(&zero);

	return !f || (netns_passes(f, e) & ends_pass(f, e, 0));
}

/*
 * Of a connection that has just begun. A listener's child has the addresses and ports of the listener at first
 * (inet_csk_clone_lock), no remote port among them: then only its namespace counts. While connect() looks for a local
 * port there is none.
 */
static __always_inline int begun_passes(const struct filter *f, const struct ends *e)
{
	return netns_passes(f, e) & (is_zero(e->rport) | ends_pass(f, e, 1));
}

/* Whether the filter may want this socket's connection. */
static __always_inline int may_pass(const void *sk)
{
	u64 laddr[2] = {}, raddr[2] = {};
	u32 zero = 0;
	const struct filter *f = filter.lookup(&zero);
	struct ends e = {
		.laddr = (const u32 *)laddr,
		.raddr = (const u32 *)raddr,
		.netns = GET(u32, net, FIELD(u64, sk, OFF_SKC_NET), OFF_NET_INUM),
		.lport = bpf_ntohs(GET(u16, inet_sock, sk, OFF_INET_SPORT)),
		.rport = bpf_ntohs(GET(u16, sock_common, sk, OFF_SKC_DPORT)),
		.family = GET(u16, sock_common, sk, OFF_SKC_FAMILY),
		.readable = 1,
	};

	if (e.family == AF_INET6) {
		bpf_probe_read_kernel(laddr, 16, sk + OFF_SKC_V6_RCV_SADDR);
		bpf_probe_read_kernel(raddr, 16, sk + OFF_SKC_V6_DADDR);
	} else {
		laddr[0] = GET(u32, sock_common, sk, OFF_SKC_RCV_SADDR);
		raddr[0] = GET(u32, sock_common, sk, OFF_SKC_DADDR);
	}
	return !f || begun_passes(f, &e);
}

/* Of a close record or an event. */
#define PASSES(r)                                    \
	passes(&(struct ends){                       \
		.laddr = (const u32 *)(r)->laddr,    \
		.raddr = (const u32 *)(r)->raddr,    \
		.netns = (r)->netns,                 \
		.lport = (r)->lport,                 \
		.rport = (r)->rport,                 \
		.family = (r)->family,               \
		.readable = !!((r)->flags & F_ADDR), \
	})
#else
#define PASSES(r) 1

static __always_inline int may_pass(const void *sk)
{
	return 1;
}
#endif
