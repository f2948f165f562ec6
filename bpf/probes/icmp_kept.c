/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * tcp_ld_RTO_revert(sk, seq), in tcp_v4_err() and tcp_v6_err(): a network or host is unreachable, and the socket is not
 * ended by that (RFC 6069); the error stays in sk_err_soft until a timer gives up.
 */
int icmp_kept(struct bpf_raw_tracepoint_args *ctx)
{
	struct call call = {};
	struct conn *c;

	if (!CALL_icmp_kept(&call, ctx))
		return 0;
	c = conn_open(call.args[0], FOR_LIFE);
	if (c)
		keep_icmp_source(c, (const void *)call.args[0]);
	return 0;
}
