/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * tcp_conn_request(ops, af_ops, sk, skb), softirq: a SYN has met a listener. What the kernel is about to look at is looked
 * at here, in the same order: its requests (inet_csk_reqsk_queue_is_full; with SYN cookies they may be more), then its
 * accept queue (sk_acceptq_is_full, by > in every release: Linux kernel commit 64a146513f8f ("[NET]: Revert incorrect accept
 * queue backlog changes.")). Whether as many requests as the backlog are too many depends on the kernel: request_made tells
 * that they were not, and of an accept queue that is full too the SYN is taken for that until it is known. Once for each SYN:
 * only where drop events were asked for.
 */
int listener_syn(struct bpf_raw_tracepoint_args *ctx)
{
	struct listener *l = listener_here();
	u32 backlog, accepting, requests, cookies, zero = 0;
	u32 *full = full_at_limit.lookup(&zero);
	struct call call = {};
	const void *sk;
	u64 net;

	if (!l || !full || !CALL_listener_syn(&call, ctx))
		return 0;
	sk = (const void *)call.args[2];
	net = FIELD(u64, sk, OFF_SKC_NET);
	backlog = GET(u32, sock, sk, OFF_SK_MAX_ACK_BACKLOG);
	accepting = GET(u32, sock, sk, OFF_SK_ACK_BACKLOG);
	requests = requests_of(sk);
	cookies = FIELD(u8, net, OFF_SYSCTL_SYNCOOKIES);
	l->sk = (u64)sk;
	l->skb = call.args[3];
	l->code = 0;
	l->at_limit = 0;
	if (!cookies && (requests > backlog || (*full && requests == backlog))) {
		l->code = DROP_REQUEST_QUEUE_FULL;
		l->queued = requests;
	} else if (accepting > backlog) {
		l->code = DROP_ACCEPT_QUEUE_FULL;
		l->queued = accepting;
#ifdef HAVE_REQUEST_MADE
	} else if (!cookies && requests == backlog) {
		l->code = DROP_REQUEST_QUEUE_FULL;
		l->queued = requests;
		l->at_limit = 1;
#endif
	}
	return 0;
}
