/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * tcp:tcp_retransmit_skb(sk, skb[, err]): one repetition, by the RTO, a loss probe or fast retransmit. With the third
 * argument it fires for repetitions that could not be sent too, which reached nobody.
 */
static __always_inline int on_retransmit(struct bpf_raw_tracepoint_args *ctx)
{
	const void *sk = (const void *)ctx->args[0];
	u8 fin = GET(u8, sk_buff, ctx->args[1], OFF_SKB_CB + OFF_CB_TCP_FLAGS) & TCP_FLAG_FIN;
	u8 backoff = GET(u8, inet_connection_sock, sk, OFF_ICSK_BACKOFF);
	u32 len = GET(u32, sk_buff, ctx->args[1], OFF_SKB_LEN);
	struct conn *c;

#ifdef HAVE_RETRANSMIT_ERR
	if (ctx->args[2])
		return 0;
#endif
#ifdef WANT_RETRANSMITS
	retransmit_event(sk, (const void *)ctx->args[1], fin, backoff);
#endif
	c = conn_open((u64)sk, fin ? FOR_END : FOR_LIFE);
	if (!c)
		return 0;
	if (len)
		c->traits |= len >= GET(u32, tcp_sock, sk, OFF_TCP_MSS) ? T_FULL_LOST : T_PART_LOST;
	if (fin && c->fin_retrans < 255)
		c->fin_retrans++;
	if (backoff > c->backoff)
		c->backoff = backoff;
	return 0;
}
