/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * inet_reqsk_alloc(ops, sk, attach), softirq, inside tcp_conn_request(): the queues of the listener have let the SYN pass.
 * Also for a cookie that came back, outside of tcp_conn_request(): then there is no l->skb. Once for each SYN: only where
 * drop events were asked for.
 */
int request_made(struct bpf_raw_tracepoint_args *ctx)
{
	struct listener *l = listener_here();
	struct call call = {};
	u32 zero = 0;
	u32 *seen = request_seen.lookup(&zero);

	if (!l || !l->skb || !seen || !CALL_request_made(&call, ctx) || l->sk != call.args[1])
		return 0;
	l->code = 0;
	if (!*seen)
		*seen = 1;
	return 0;
}
