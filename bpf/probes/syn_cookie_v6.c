/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * cookie_v6_init_sequence(skb, mss), softirq, inside tcp_conn_request(): the kernel answers the SYN of IPv6 with a cookie and
 * keeps no request. SyncookiesSent counts it. Only where drop events were asked for.
 */
int syn_cookie_v6(struct bpf_raw_tracepoint_args *ctx)
{
	struct call call = {};

	if (CALL_syn_cookie_v6(&call, ctx))
		cookie_event(call.args[0]);
	return 0;
}
