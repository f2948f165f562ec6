/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * tcp_v4_err(skb, info), softirq: an ICMP error about a packet of ours. The network header is that of the error,
 * skb->data the header that it quotes, with the ports behind it (RFC 792: eight bytes at least).
 */
int icmp_error(struct bpf_raw_tracepoint_args *ctx)
{
	struct call call = {};
	struct icmp_error *e;
	u32 zero = 0;
	u64 outer, quoted, tcp;

	e = icmp_errors.lookup(&zero);
	if (!e || !CALL_icmp_error(&call, ctx))
		return 0;
	outer = FIELD(u64, call.args[0], OFF_SKB_HEAD) +
		FIELD(u16, call.args[0], OFF_SKB_NETWORK_HEADER);
	quoted = FIELD(u64, call.args[0], OFF_SKB_DATA);
	tcp = quoted + (FIELD(u8, quoted, 0) & 15) * 4;
	e->from = FIELD(u32, outer, 12);
	e->local = FIELD(u32, quoted, 12);
	e->remote = FIELD(u32, quoted, 16);
	e->ports = (u32)bpf_ntohs(FIELD(u16, tcp, 0)) << 16 | bpf_ntohs(FIELD(u16, tcp, 2));
	e->at = bpf_jiffies64();
	return 0;
}
