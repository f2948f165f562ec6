/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * tcp:tcp_receive_reset(sk): top of tcp_reset(), softirq or backlog. ->CLOSE follows at once. Also fires when
 * data arrives after close (tcp_rcv_state_process, TCPAbortOnData): then tcp_send_reset follows on the same socket.
 */
static __always_inline int on_reset_received(struct bpf_raw_tracepoint_args *ctx)
{
	struct conn *c = conn_open(ctx->args[0], FOR_END);

	if (!c)
		return 0;
	c->flags |= F_RST_IN;
	if (c->flags & F_SYN_HIT && syn_hit_is_old(c, (const void *)ctx->args[0]))
		c->flags &= ~F_SYN_HIT;
	return 0;
}
