/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * tcp_init_transfer(sk, op, skb), softirq, once per connection: the handshake is over, by this segment of the peer
 * (SYN+ACK, or the ACK of ours). Its TTL is what the TTL of a RST is compared with. NULL with TCP Fast Open at connect().
 */
int handshake_ttl(struct bpf_raw_tracepoint_args *ctx)
{
	struct call call = {};
	struct conn *c;

	if (!CALL_handshake_ttl(&call, ctx) || !call.args[2])
		return 0;
	c = conn_open(call.args[0], FOR_LIFE);
	if (c)
		c->ttl = ttl_of((const void *)call.args[2]);
	return 0;
}
