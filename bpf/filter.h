/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Whether the filter may want this socket's connection. The planner writes PASSES(r) for what is whole, and MAY_PASS(r),
 * which also holds where an address or a port that it asks for is not known yet (tracetw/kernel/filter.py).
 */
#ifdef MAY_PASS
struct ends {
	u8 laddr[16];
	u8 raddr[16];
	u32 netns;
	u16 lport;
	u16 rport;
	u16 family;
};

static __always_inline int may_pass(const void *sk)
{
	struct ends ends = {};

	ends.netns = GET(u32, net, FIELD(u64, sk, OFF_SKC_NET), OFF_NET_INUM);
	ends.family = GET(u16, sock_common, sk, OFF_SKC_FAMILY);
	ends.lport = bpf_ntohs(GET(u16, inet_sock, sk, OFF_INET_SPORT));
	ends.rport = bpf_ntohs(GET(u16, sock_common, sk, OFF_SKC_DPORT));
	if (ends.family == AF_INET6) {
		bpf_probe_read_kernel(ends.laddr, 16, sk + OFF_SKC_V6_RCV_SADDR);
		bpf_probe_read_kernel(ends.raddr, 16, sk + OFF_SKC_V6_DADDR);
	} else {
		*(u32 *)ends.laddr = GET(u32, sock_common, sk, OFF_SKC_RCV_SADDR);
		*(u32 *)ends.raddr = GET(u32, sock_common, sk, OFF_SKC_DADDR);
	}
	return MAY_PASS(&ends);
}
#else
static __always_inline int may_pass(const void *sk)
{
	return 1;
}
#endif
