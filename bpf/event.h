/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Single events of full sockets and packets, each only in the unit when --events asks for it. */
#ifdef WANT_EVENTS

/* An empty event; 0, and counted as lost, where all places of this CPU are taken. event_send() or event_leave() follows. */
static __always_inline struct event_record *event_begin(void)
{
	struct event_place *place = event_claim();

	if (!place) {
		count(STAT_LOST_EVENTS);
		return 0;
	}
	__builtin_memset(&place->is, 0, sizeof(place->is));
	return &place->is;
}

static __always_inline void event_leave(struct event_record *e)
{
	event_give_back((struct event_place *)e);
}

static __always_inline void event_send(struct event_record *e)
{
	if (PASSES(e) && events.ringbuf_output(e, sizeof(*e), 0))
		count(STAT_LOST_EVENTS);
	event_leave(e);
}

static __always_inline void event_tuple(struct event_record *e, const struct tuple *t)
{
	((u64 *)e->laddr)[0] = t->local[0];
	((u64 *)e->laddr)[1] = t->local[1];
	((u64 *)e->raddr)[0] = t->remote[0];
	((u64 *)e->raddr)[1] = t->remote[1];
	e->lport = t->ports >> 16;
	e->rport = t->ports;
	e->family = t->family;
	e->netns = GET(u32, net, t->net, OFF_NET_INUM);
	e->flags |= F_ADDR;
}

/* Common to events of a full socket: tuple, and what is known of it while it lives. */
static __always_inline void event_of_socket(struct event_record *e, const void *sk, u8 kind)
{
	struct conn *c = conn_find((u64)sk);
	struct tuple t;

	e->at = bpf_ktime_get_ns();
	e->sk = (u64)sk;
	e->kind = kind;
	e->uid = GET(u32, sock, sk, OFF_SK_UID);
	tuple_of_common(&t, sk);
	/* The port is given back before ->CLOSE is announced; inet_sport stays. */
	t.ports =
		(u32)bpf_ntohs(GET(u16, inet_sock, sk, OFF_INET_SPORT)) << 16 | (t.ports & 0xffff);
	event_tuple(e, &t);
	if (!c)
		return;
	e->born = c->steps ? c->at[0] : 0;
	e->flags |= c->flags & (F_CLIENT | F_SERVER);
	e->pid = c->pid;
	e->owner_from = c->owner_from;
	if (c->pid) {
		e->cgroup = c->cgroup;
		__builtin_memcpy(e->comm, c->comm, sizeof(e->comm));
	}
}

#ifdef WANT_TRANSITIONS
static __always_inline void transition_event(const void *sk, u32 from, u32 to)
{
	struct event_record *e;

	if (GET(u16, sock, sk, OFF_SK_PROTOCOL) != IPPROTO_TCP)
		return;
	e = event_begin();
	if (!e)
		return;
	event_of_socket(e, sk, EVENT_TRANSITION);
	e->from = from;
	e->to = to;
	event_send(e);
}
#endif

#ifdef WANT_RETRANSMITS
static __always_inline void retransmit_event(const void *sk, const void *skb, u8 fin, u8 backoff)
{
	struct event_record *e;

	e = event_begin();
	if (!e)
		return;
	event_of_socket(e, sk, EVENT_RETRANSMIT);
	e->from = GET(u8, sock_common, sk, OFF_SKC_STATE);
	e->code = fin						       ? WHAT_FIN
		  : e->from == TCP_SYN_SENT || e->from == TCP_SYN_RECV ? WHAT_SYN
								       : WHAT_DATA;
	e->backoff = backoff;
	e->rto = GET(u32, inet_connection_sock, sk, OFF_ICSK_RTO);
	e->seq = FIELD(u32, skb, OFF_SKB_CB + OFF_CB_SEQ);
	event_send(e);
}
#endif

#ifdef WANT_DROPS
static __always_inline void drop_send(struct event_record *e, const void *skb, u8 code, u32 reason)
{
	e->code = code;
	e->reason = reason;
	e->seq = FIELD(u32, skb, OFF_SKB_CB + OFF_CB_SEQ);
	event_send(e);
}

/*
 * tcp_validate_incoming() and tcp_ack() name why they refuse a segment. A SYN on a synchronised socket, a RST
 * in the window but not at rcv_nxt, and an ACK from nowhere are each answered by a challenge ACK (RFC 5961).
 */
static __always_inline u8 drop_code(u32 reason, u8 rst)
{
	if (reason == DROP_REASON_PAWS)
		return DROP_PAWS;
	if (reason == DROP_REASON_INVALID_SYN || reason == DROP_REASON_TOO_OLD_ACK ||
	    reason == DROP_REASON_ACK_UNSENT_DATA || (reason == DROP_REASON_RESET && rst))
		return DROP_CHALLENGE_ACK;
	if ((reason == DROP_REASON_INVALID_SEQUENCE || reason == DROP_REASON_OLD_SEQUENCE) && rst)
		return DROP_OUT_OF_WINDOW_RESET;
	if (is_signature_failure(reason))
		return DROP_SIGNATURE_FAILURE;
	return reason == DROP_REASON_LISTEN_OVERFLOW ? DROP_ACCEPT_QUEUE_FULL : 0;
}

/* What met a listener has no socket of its own: its addresses are the packet's. */
static __always_inline void listener_drop(struct event_record *e, const void *sk, const void *skb,
					  u8 code, u32 reason, u32 queued)
{
	struct tuple t;
	u8 flags;

	if (!tuple_of_packet(&t, skb, &flags)) {
		event_leave(e);
		return;
	}
	t.net = FIELD(u64, sk, OFF_SKC_NET);
	e->at = bpf_ktime_get_ns();
	e->sk = (u64)sk;
	e->kind = EVENT_DROP;
	e->uid = GET(u32, sock, sk, OFF_SK_UID);
	e->flags |= F_SERVER;
	e->backlog = GET(u32, sock, sk, OFF_SK_MAX_ACK_BACKLOG);
	e->queued = queued;
	e->from = TCP_LISTEN;
	event_tuple(e, &t);
	drop_send(e, skb, code, reason);
}

static __always_inline void drop_event(const void *sk, const void *skb, u32 reason)
{
	u8 code = drop_code(reason, FIELD(u8, skb, OFF_SKB_CB + OFF_CB_TCP_FLAGS) & TCP_FLAG_RST);
	struct event_record *e;

	if (!code || GET(u16, sock, sk, OFF_SK_PROTOCOL) != IPPROTO_TCP)
		return;
	e = event_begin();
	if (!e)
		return;
	e->from = GET(u8, sock_common, sk, OFF_SKC_STATE);
	if (e->from == TCP_LISTEN) {
		listener_drop(e, sk, skb, code, reason, GET(u32, sock, sk, OFF_SK_ACK_BACKLOG));
		return;
	}
	event_of_socket(e, sk, EVENT_DROP);
	drop_send(e, skb, code, reason);
}
#endif

#ifdef WANT_DROPS
/* The same of a packet of which it is not known which socket refused it: nobody knows the owner. */
static __always_inline void packet_drop_event(const struct tuple *t, const void *skb, u8 flags,
					      u32 reason)
{
	u8 code = drop_code(reason, flags & TCP_FLAG_RST);
	struct event_record *e;

	if (!code)
		return;
	e = event_begin();
	if (!e)
		return;
	e->at = bpf_ktime_get_ns();
	e->kind = EVENT_DROP;
	event_tuple(e, t);
	drop_send(e, skb, code, reason);
}
#endif
#endif
