/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * skb:kfree_skb(skb, location[, reason]) where the kernel does not say which socket the packet met (before Linux
 * kernel commit c53795d48ee8 ("net: add rx_sk to trace_kfree_skb") (in v6.11)): the tuple is read from the packet.
 * skb->dev is still set on the way through tcp_v4_rcv to a mini-socket.
 */
#define TCP_FLAG_FIN 0x01
#define TCP_FLAG_RST 0x04
#define TCP_FLAG_ACK 0x10
#define ETH_P_IP 0x0800
#define ETH_P_IPV6 0x86dd

/* The receiver's tuple of a TCP packet; 0 when it is none. */
static __always_inline int tuple_of_packet(struct tuple *t, const void *skb, u8 *flags)
{
	u64 head = FIELD(u64, skb, OFF_SKB_HEAD);
	u64 ip = head + GET(u16, sk_buff, skb, OFF_SKB_NETWORK_HEADER);
	u64 tcp = head + GET(u16, sk_buff, skb, OFF_SKB_TRANSPORT_HEADER);
	u16 protocol = bpf_ntohs(GET(u16, sk_buff, skb, OFF_SKB_PROTOCOL));
	u64 dev = FIELD(u64, skb, OFF_SKB_DEV);

	if (!dev)
		return 0;
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
	t->net = FIELD(u64, dev, OFF_DEV_NET);
	t->ports = (u32)bpf_ntohs(FIELD(u16, tcp, 2)) << 16 | bpf_ntohs(FIELD(u16, tcp, 0));
	*flags = FIELD(u8, tcp, 13);
	return 1;
}

int packet_drop_skb(struct bpf_raw_tracepoint_args *ctx)
{
	struct slot slot;
	struct tuple t;
	const void *tw;
	u64 *known;
	u8 flags;

	if (!tuple_of_packet(&t, (const void *)ctx->args[0], &flags) ||
	    !(flags & (TCP_FLAG_FIN | TCP_FLAG_RST)))
		return 0;
	slot = mini_slot(tuple_key(&t));
	known = slot.key ? mini_tws.lookup(&slot.index) : 0;
	if (!known)
		return 0;
	tw = (const void *)*known;
	if (flags & TCP_FLAG_RST) {
		if (unhashed(tw))
			mini_end_of(&t, END_RST, TCP_CLOSE,
				    F_RST_ACK_KNOWN | (flags & TCP_FLAG_ACK ? F_RST_ACK : 0), 0);
	} else if (mini_substate(tw) == TCP_TIME_WAIT) {
		mini_end_of(&t, END_FIN, TCP_TIME_WAIT, 0, 0);
	}
	return 0;
}
