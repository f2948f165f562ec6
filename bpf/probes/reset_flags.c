/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * tcp_reset(sk, skb), softirq or backlog, once per connection at most. tcp:tcp_receive_reset in it tells the same
 * without the segment. Its flags are the TCP header's (tcp_v4_fill_cb). Data that arrives after close() gets here too:
 * that is no RST.
 */
int reset_flags(struct bpf_raw_tracepoint_args *ctx)
{
	struct call call = {};
	struct conn *c;
	u8 flags;

	if (!CALL_reset_flags(&call, ctx))
		return 0;
	flags = FIELD(u8, call.args[1], OFF_SKB_CB + OFF_CB_TCP_FLAGS);
	if (!(flags & TCP_FLAG_RST))
		return 0;
	c = conn_open(call.args[0], FOR_END);
	if (!c)
		return 0;
	c->flags |= F_RST_ACK_KNOWN | (flags & TCP_FLAG_ACK ? F_RST_ACK : 0);
	c->rst_ttl = ttl_of((const void *)call.args[1]);
	return 0;
}
