/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * sock:inet_sk_error_report(sk): the kernel reports an error to the application. At ->CLOSE sk_err is final already, except
 * that tcp_disconnect() (AF_UNSPEC, a dying listener) sets ECONNRESET afterwards: only that is taken from here. It
 * also runs inside close() with SO_LINGER 0 (both directions shut by then), where no application can receive it.
 *
 * An ICMP error that comes while connect() holds the socket (a rule of our own host rejects the SYN) is queued and
 * reported, then noted in sk_err_soft, where getsockopt(SO_ERROR) takes it from (tcp_v4_err, ip_icmp_error): it is
 * remembered here.
 */
static __always_inline void icmp_while_connecting(const void *sk)
{
	u64 skb = FIELD(u64, sk, OFF_SK_ERROR_QUEUE + 8);
	struct conn *c;

	if (!OFF_EXTERR_EE || skb == (u64)sk + OFF_SK_ERROR_QUEUE)
		return;
	c = conn_find((u64)sk);
	if (!c)
		return;
	c->icmp_error = FIELD(u32, skb, OFF_SKB_CB + OFF_EXTERR_EE);
	keep_icmp_source(c, sk);
}

static __always_inline int on_socket_error(struct bpf_raw_tracepoint_args *ctx)
{
	struct close_record *r;

	if (GET(u8, sock_common, ctx->args[0], OFF_SKC_STATE) == TCP_SYN_SENT) {
		icmp_while_connecting((const void *)ctx->args[0]);
		return 0;
	}
	/* tcp_disconnect() has taken the peer's port away by now; every other error was final at ->CLOSE. */
	if (GET(u16, sock_common, ctx->args[0], OFF_SKC_DPORT))
		return 0;
	r = closed_at(closed_slot(ctx->args[0]));
	if (r && !r->err && r->shutdown != SHUT_BOTH)
		r->err = GET(u32, sock, ctx->args[0], OFF_SK_ERR);
	return 0;
}
