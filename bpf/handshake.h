/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What a listener does with a SYN, where there are function probes and drop events were asked for. tcp_conn_request() knows
 * the listener and looks at its queues, inet_reqsk_alloc() comes when they let the SYN pass, and a third function, which
 * knows only the packet, makes the cookie. So each CPU remembers its SYN: softirqs are off in tcp_conn_request(), and it
 * does not call itself.
 */
#ifdef WANT_DROPS
struct listener {
	u64 sk;
	u64 skb; /* 0 none */
	u32 requests; /* when the SYN came */
	u32 accepting;
	u8 code; /* DROP_: why the kernel may drop it before it becomes a request; 0 unknown */
	u8 cookies; /* tcp_syncookies */
};

BPF_TABLE("percpu_array", u32, struct listener, listeners, 1);

/*
 * 1: inet_reqsk_alloc() was seen inside tcp_conn_request(). In kernels that have both in tcp_input.c, and with link time
 * optimisation, a compiler may inline it there: then its probe never runs for a SYN.
 */
BPF_TABLE("array", u32, u32, request_seen, 1);

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

/* An event of a listener and the packet that it has met; more of it in flags. */
static __always_inline void listener_event(const void *sk, const void *skb, u8 code, u32 queued,
					   u32 flags)
{
	struct event_record *e = event_begin();

	if (!e)
		return;
	e->flags = flags;
	listener_drop(e, sk, skb, code, 0, queued);
}

/* cookie_v4_init_sequence(), cookie_v6_init_sequence(): the SYN that this CPU is at is answered with a cookie. */
static __always_inline void cookie_event(u64 skb)
{
	struct listener *l = listener_here();

	/* Of a SYN from before the probe on its listener. */
	if (!l || l->skb != skb)
		return;
	listener_event((const void *)l->sk, (const void *)skb, DROP_SYN_COOKIE, l->requests,
		       l->cookies == 2 ? F_SYSCTL : 0);
}
#endif
