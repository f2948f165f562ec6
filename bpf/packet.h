/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Reading the headers of a packet. */

#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd
/* TTL or hop limit of a packet; 0 when it is of neither family. */
static __always_inline u8 ttl_of(const void *skb)
{
	u64 ip = FIELD(u64, skb, OFF_SKB_HEAD) + GET(u16, sk_buff, skb, OFF_SKB_NETWORK_HEADER);
	u16 protocol = bpf_ntohs(GET(u16, sk_buff, skb, OFF_SKB_PROTOCOL));

	if (protocol == ETH_P_IP)
		return FIELD(u8, ip, 8);
	return protocol == ETH_P_IPV6 ? FIELD(u8, ip, 7) : 0;
}

/* The receiver's tuple of a TCP packet, but for its namespace; 0 when it is none. */
static __always_inline int tuple_of_packet(struct tuple *t, const void *skb, u8 *flags)
{
	u64 head = FIELD(u64, skb, OFF_SKB_HEAD);
	u64 ip = head + GET(u16, sk_buff, skb, OFF_SKB_NETWORK_HEADER);
	u64 tcp = head + GET(u16, sk_buff, skb, OFF_SKB_TRANSPORT_HEADER);
	u16 protocol = bpf_ntohs(GET(u16, sk_buff, skb, OFF_SKB_PROTOCOL));

	if (protocol == ETH_P_IP && FIELD(u8, ip, 9) == IPPROTO_TCP) {
		t->family = AF_INET;
		t->remote[0] = FIELD(u32, ip, 12);
		t->remote[1] = 0;
		t->local[0] = FIELD(u32, ip, 16);
		t->local[1] = 0;
	} else if (protocol == ETH_P_IPV6 && FIELD(u8, ip, 6) == IPPROTO_TCP) {
		t->family = AF_INET6;
		bpf_probe_read_kernel(t->remote, 16, (const void *)(ip + 8));
		bpf_probe_read_kernel(t->local, 16, (const void *)(ip + 24));
	} else {
		return 0;
	}
	t->ports = (u32)bpf_ntohs(FIELD(u16, tcp, 2)) << 16 | bpf_ntohs(FIELD(u16, tcp, 0));
	*flags = FIELD(u8, tcp, 13);
	return 1;
}
