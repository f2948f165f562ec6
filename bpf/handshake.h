/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What a listener does with a SYN, where there are function probes and drop events were asked for. tcp_conn_request() knows
 * the listener and looks at its queues, inet_reqsk_alloc() comes when they let the SYN pass, and a third function, which
 * knows only the packet, makes the cookie. So what each CPU is at is kept: softirqs are off in there, and it does not call
 * itself.
 */
#ifdef WANT_DROPS
struct listener {
	u64 sk;
	u64 skb; /* 0 none */
	u32 queued;
	u16 code; /* DROP_: the queues say that it will be dropped for this; 0 they do not */
	u16 at_limit; /* as many requests as the backlog, and the accept queue has room */
};

BPF_TABLE("percpu_array", u32, struct listener, listeners, 1);

/*
 * 1: this kernel has dropped a SYN that met as many requests as the backlog, and an accept queue with room. It compares by
 * >= in inet_csk_reqsk_queue_is_full(), as all did before Linux kernel commit 3479c7549fb1 ("tcp/dccp: allow a connection
 * when sk_max_ack_backlog is zero"), which stable kernels have, too. No BTF says so.
 */
BPF_TABLE("array", u32, u32, full_at_limit, 1);

static __always_inline struct listener *listener_here(void)
{
	u32 zero = 0;

	return listeners.lookup(&zero);
}

/* Requests of handshakes that are not complete (inet_csk_reqsk_queue_len). */
static __always_inline u32 requests_of(const void *sk)
{
	return FIELD(u32, sk, OFF_ICSK_REQUESTS);
}

/* An event of a listener and the packet that it has met. */
static __always_inline void listener_event(const void *sk, const void *skb, u8 code, u32 queued)
{
	struct event_record *e = event_begin();

	if (e)
		listener_drop(e, sk, skb, code, 0, queued);
}

/* cookie_v4_init_sequence(), cookie_v6_init_sequence(): the SYN that this CPU is at is answered with a cookie. */
static __always_inline void cookie_event(u64 skb)
{
	struct listener *l = listener_here();

	/* Of a SYN from before the probe on its listener. */
	if (!l || l->skb != skb)
		return;
	listener_event((const void *)l->sk, (const void *)skb, DROP_SYN_COOKIE,
		       requests_of((const void *)l->sk));
}
#endif
