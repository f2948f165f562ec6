/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * tcp_conn_request(ops, af_ops, sk, skb), softirq: a SYN has met a listener. Reads what the kernel is about to read:
 * its requests (inet_csk_reqsk_queue_is_full; with SYN cookies they may be more), and its accept queue
 * (sk_acceptq_is_full, by > in every release: Linux kernel commit 64a146513f8f ("[NET]: Revert incorrect accept queue
 * backlog changes.")). Of an accept queue with room and requests up to the backlog the fate of the SYN shows whether that is
 * too many: kernels before Linux kernel commit 3479c7549fb1 ("tcp/dccp: allow a connection when sk_max_ack_backlog is zero")
 * compare by >=, and a SYN that reopens a TIME_WAIT is not held against it (tcp_tw_isn). With both queues full none of that
 * shows, and there is no event. Once for each SYN: only where drop events were asked for.
 */
int listener_syn(struct bpf_raw_tracepoint_args *ctx)
{
	struct listener *l = listener_here();
	struct call call = {};
	const void *sk;
	u32 backlog;
	int many;

	if (!l || !CALL_listener_syn(&call, ctx))
		return 0;
	sk = (const void *)call.args[2];
	backlog = GET(u32, sock, sk, OFF_SK_MAX_ACK_BACKLOG);
	l->sk = (u64)sk;
	l->skb = call.args[3];
	l->requests = requests_of(sk);
	l->accepting = GET(u32, sock, sk, OFF_SK_ACK_BACKLOG);
	l->cookies = FIELD(u8, FIELD(u64, sk, OFF_SKC_NET), OFF_SYSCTL_SYNCOOKIES);
	many = !l->cookies && l->requests >= backlog;
	l->code = 0;
	if (l->accepting > backlog)
		l->code = many ? 0 : DROP_ACCEPT_QUEUE_FULL;
	else if (many)
		l->code = DROP_REQUEST_QUEUE_FULL;
	return 0;
}
