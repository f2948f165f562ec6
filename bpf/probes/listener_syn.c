/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * tcp_conn_request(ops, af_ops, sk, skb), softirq: a SYN has met a listener. If its accept queue is full the kernel drops
 * the SYN and consumes the packet, so that no tracepoint tells of it. What it looks at is looked at here, a moment before:
 * sk_acceptq_is_full(), unless the queue of requests is full too and there are no SYN cookies, which drops the SYN first
 * (TCPReqQFullDrop). Once for each SYN: only where drop events were asked for.
 */
int listener_syn(struct bpf_raw_tracepoint_args *ctx)
{
	struct call call = {};
	struct event_record *e;
	const void *sk;
	u32 backlog;
	u64 net;

	if (!CALL_listener_syn(&call, ctx))
		return 0;
	sk = (const void *)call.args[2];
	backlog = GET(u32, sock, sk, OFF_SK_MAX_ACK_BACKLOG);
	if (GET(u32, sock, sk, OFF_SK_ACK_BACKLOG) <= backlog)
		return 0;
	net = FIELD(u64, sk, OFF_SKC_NET);
	if (FIELD(u32, sk, OFF_ICSK_REQUESTS) >= backlog && !FIELD(u8, net, OFF_SYSCTL_SYNCOOKIES))
		return 0;
	e = event_begin();
	if (!e)
		return 0;
	e->from = TCP_LISTEN;
	listener_drop(e, sk, (const void *)call.args[3], DROP_ACCEPT_QUEUE_FULL, 0);
	return 0;
}
