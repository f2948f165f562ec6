/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What leaves the kernel. This header is the only description of the layout: the NumPy dtypes in
 * tracetw/event/record.py are generated from it (scripts/gen-record) and checked at every load.
 *
 * Facts only, in the kernel's own units. A field that the kernel could not tell is 0 and the flag
 * that would vouch for it is clear; zero alone never means "known to be zero" where a flag exists.
 *
 * The header needs the fixed-width __uN types and nothing else.
 */
#ifndef TRACETW_RECORD_H
#define TRACETW_RECORD_H

#define RECORD_VERSION 2

/* Times of a record: one for each state of its path, of which there are six at most, and at[AT_CLOSED]. */
#define PATH_MAX 7
/* When the full socket reached CLOSE. With its address the identity of this life of it: always set. */
#define AT_CLOSED 6

/* What completed a close record. */
enum end {
	END_NONE,
	END_DESTROY,	/* the socket was destroyed: the usual end */
	END_REUSE,	/* the application connected the same socket again */
	END_FIN,	/* the peer's FIN reached the timewait socket in FIN_WAIT2: TIME_WAIT begins */
	END_RST,	/* a RST killed the timewait socket in FIN_WAIT2 */
	END_LATE_DATA,	/* data or a SYN met the timewait socket in FIN_WAIT2, the kernel answered RST */
	END_TIMEOUT,	/* the timewait socket in FIN_WAIT2 timed out */
	END_FULL,	/* no room to wait for the end: sent at once */
	END_PENDING,	/* its owner has not closed it yet: user space took it, or its slot was needed */
	END_STALE,	/* user space took it: the timewait socket vanished without a witness */
};

/* How the owner (pid, comm, cgroup) is known; user space adds its own ways above OWNER_CLOSE. */
enum owner {
	OWNER_NONE,
	OWNER_CONNECT,	/* the task that called connect() */
	OWNER_CLOSE,	/* the task that closed or shut down the socket */
	OWNER_IO,
	OWNER_LISTENER,
	OWNER_DIAG,
	OWNER_KERNEL,	/* no process: the kernel's own socket (NFS, an MPTCP join) */
};

/* Facts of one bit. */
#define F_BORN		(1u << 0)	/* seen from its first state: path and at[] are complete */
#define F_CLIENT	(1u << 1)	/* connect() was seen */
#define F_SERVER	(1u << 2)	/* a listener's child */
#define F_DEAD		(1u << 3)	/* SOCK_DEAD at CLOSE: the application had let go before */
#define F_DONE		(1u << 4)	/* SOCK_DONE at CLOSE: the peer's FIN had arrived */
#define F_LINGER0	(1u << 5)	/* SO_LINGER on, with time 0, at CLOSE */
#define F_OWNED		(1u << 6)	/* a task held the socket lock at CLOSE */
#define F_SOCKET	(1u << 7)	/* struct socket attached at CLOSE: accepted and not yet closed */
#define F_RST_IN	(1u << 8)	/* tcp_receive_reset */
#define F_RST_OUT	(1u << 9)	/* tcp_send_reset without a segment: an active reset */
#define F_RST_REPLY	(1u << 10)	/* tcp_send_reset in answer to a segment */
#define F_RST_REASON	(1u << 11)	/* reset_reason is the kernel's */
#define F_RST_EARLY	(1u << 12)	/* the active reset came before CLOSE (timer, administrator) */
#define F_TS_OK		(1u << 13)	/* timestamps were negotiated */
#define F_TS_SEEN	(1u << 14)	/* the last segment received carried a timestamp */
#define F_TW		(1u << 15)	/* CLOSE left a timewait socket behind */
#define F_TW_FIN_WAIT2	(1u << 16)	/* ... in substate FIN_WAIT2 */
#define F_EXITING	(1u << 17)	/* PF_EXITING when the owner closed: exit_code holds */
#define F_OOM		(1u << 18)	/* ... as an OOM victim */
#define F_KTHREAD	(1u << 19)	/* closed by a kernel thread: owner unknown from there */
#define F_ACK_PENDING	(1u << 20)	/* our FIN left with the ACK of the peer's FIN still due */
#define F_MISSED	(1u << 21)	/* the CLOSE event itself was missed: facts are from the destruction */
#define F_CLOSE_CALLED	(1u << 22)	/* close() was seen on a connection that was shut down before */
#define F_RST_ACK_KNOWN	(1u << 23)	/* the flags of the RST received were seen */
#define F_RST_ACK	(1u << 24)	/* ... and it had ACK */
#define F_SYSCTL	(1u << 25)	/* the sysctl_ fields are filled */
#define F_CLOSED	(1u << 26)	/* reached CLOSE */
#define F_SYN_HIT	(1u << 27)	/* a SYN arrived on the live connection (challenge ACK) */
#define F_ADDR		(1u << 28)	/* the addresses are filled */
#define F_FIN_ACKED	(1u << 29)	/* CLOSE found our FIN acknowledged (snd_una == write_seq) */
#define F_TW_REFUSED	(1u << 30)	/* inet_twsk_alloc() gave no TIME_WAIT socket */
#define F_SEGMENT_TIME	(1u << 31)	/* FIN_WAIT2 and the peer's FIN: times of segments */

/* More of one bit, in traits. */
#define T_QUIET		(1u << 0)	/* quiet, since_sent and since_received hold, or are SINCE_UNKNOWN */
#define T_KEEPALIVE	(1u << 1)	/* SO_KEEPALIVE at CLOSE */
#define T_URGENT	(1u << 2)	/* an urgent byte is among what was unread at CLOSE */
#define T_FULL_LOST	(1u << 3)	/* data of a full segment or more was retransmitted */
#define T_PART_LOST	(1u << 4)	/* data of less than a full segment was retransmitted */
#define T_ICMP		(1u << 5)	/* icmp_from holds */
#define T_READ		(1u << 6)	/* bytes_acked, segs_in, mss and the other bits were read */
#define T_SACKED	(1u << 7)	/* SACK: segments behind the oldest one missing had arrived */

/* Of a time that never was, or that the kernel could not tell. */
#define SINCE_UNKNOWN 0xffffffff

/* What stands above TCP, or what made the socket. */
enum layer {
	LAYER_NONE,
	LAYER_UNKNOWN,	/* nobody looked */
	LAYER_MPTCP,
	LAYER_SOCKMAP,
	LAYER_TLS,
	LAYER_ESPINTCP,
	LAYER_SMC,
	LAYER_ULP,	/* another one */
	LAYER_KERNEL,	/* a socket of the kernel's own, of no process */
};

/* mptcp_flags. */
#define MP_CONNECTION	(1u << 0)	/* the socket of the application (IPPROTO_MPTCP), not a subflow */
#define MP_SUBFLOW	(1u << 1)	/* a subflow */
#define MP_JOIN		(1u << 2)	/* ... beside the first one (MP_JOIN) */
#define MP_BACKUP	(1u << 3)	/* ... which carries data only without the others */
#define MP_WENT_ON	(1u << 4)	/* ... whose connection was not ending */
#define MP_FALLBACK	(1u << 5)	/* plain TCP under a socket of MPTCP: it stands for the connection */
#define MP_FASTCLOSE_OUT (1u << 6)	/* RST with MP_FASTCLOSE sent */
#define MP_FASTCLOSE_IN	(1u << 7)	/* RST with MP_FASTCLOSE received, on this subflow or another */
#define MP_RESET_SEEN	(1u << 8)	/* mptcp_reset holds */
#define MP_NO_SUBFLOW	(1u << 9)	/* the connection had no subflow left */
#define MP_BYTES	(1u << 10)	/* the connection: bytes_ hold */
#define MP_READ		(1u << 11)	/* ... rcv_nxt and copied_seq hold */
#define MP_LET_GO	(1u << 12)	/* ... the application has closed it */

/* How the local address was chosen, in bind. */
#define BIND_PORT	(1u << 0)	/* bind() took the local port */
#define BIND_ADDR	(1u << 1)	/* bind() took the local address */
#define BIND_REUSEADDR	(1u << 2)	/* SO_REUSEADDR */
#define BIND_KNOWN	(1u << 7)	/* these bits were read */

/* sk_shutdown at CLOSE, and bits of our own beside it. */
#define SHUT_RECEIVE	(1u << 0)
#define SHUT_SEND	(1u << 1)
#define SHUT_FILE_HELD	(1u << 2)	/* shut down both ways, but not by close(): the file is in use */
#define SHUT_READ_FINAL	(1u << 3)	/* copied_seq is of the destruction: nobody reads any more */

/*
 * One finished connection end. 312 bytes: with the ring buffer's own 8-byte header five cache lines. What rules judge
 * is at the end, from path on: user space copies that part as columns.
 */
struct close_record {
	__u64 sk;		/* address of struct sock */
	__u64 at[PATH_MAX];	/* CLOCK_MONOTONIC ns of each state of path, 0 unknown; at[AT_CLOSED] */
	__u64 bytes_sent;	/* tcp_sock.bytes_sent: payload, retransmissions included */
	__u64 bytes_retrans;
	__u64 bytes_received;
	__u64 cgroup;		/* cgroup v2 id of the owner; 0 unknown */
	__u8 comm[16];		/* of the owner; empty unknown */
	__u8 laddr[16];		/* network order; IPv4 in the first four bytes */
	__u8 raddr[16];
	__u64 bytes_acked;	/* tcp_sock.bytes_acked: sequence space, SYN of connect() and FIN included */
	__u64 mptcp_conn;	/* address of the MPTCP socket that a subflow belongs to; 0 none */
	__u32 mptcp_token;	/* of the MPTCP connection; 0 none */
	__u32 icmp_from;	/* source of the last ICMP error, network order (T_ICMP); IPv4 only */
	__u32 srtt;		/* tcp_sock.srtt_us: smoothed round trip time, 1/8 us; 0 none was measured */
	__u32 rtt_min;		/* us, of the last 300 s (tcp_min_rtt); SINCE_UNKNOWN none was measured */
	__u32 segs_in;		/* tcp_sock.segs_in */
	__u32 quiet;		/* jiffies since the last segment of the peer, before the first FIN, RST or time-out */
	__u32 since_sent;	/* jiffies since data was last sent, repetitions included, before that moment */
	__u32 since_received;	/* jiffies since data was last received, before that moment */
	__u16 mss;		/* tcp_sock.mss_cache: payload of a full segment */
	__u16 mptcp_flags;	/* MP_ */
	__u8 ttl;		/* TTL or hop limit of the segment of the handshake; 0 unknown */
	__u8 rst_ttl;		/* ... of the RST received; 0 unknown */
	__u8 mptcp_local_id;	/* address id of the subflow; of the connection: subflows that it has had, 0 unknown */
	__u8 mptcp_remote_id;	/* ... of the connection: its subflows whose records have not left */
	__u32 path;		/* states entered, 4 bits each, newest lowest; 0 before the first */
	__u32 netns;		/* inode number */
	__u32 inode;		/* of the socket, when F_SOCKET; 0 unknown */
	__u32 pid;		/* process (tgid) of the owner; 0 unknown */
	__u32 uid;		/* sk_uid */
	__u32 flags;		/* F_ */
	__u32 snd_una;		/* sequence numbers at CLOSE */
	__u32 snd_nxt;
	__u32 write_seq;
	__u32 snd_wnd;
	__u32 rcv_nxt;
	__u32 copied_seq;
	__u32 retrans_stamp;	/* TCP clock, ms: when the oldest segment now repeated was first sent; 0 none */
	__u32 user_timeout;	/* TCP_USER_TIMEOUT, ms; 0 unset, or no limit can have run out: nothing of ours was
				   outstanding, and no error but ECONNRESET came. So are retrans_stamp, rto_max and
				   keepalive_probes 0 then */
	__u32 rto;		/* icsk_rto, jiffies */
	__u32 total_retrans;
	__u32 idle;		/* jiffies since the last segment from the peer */
	__u32 probing;		/* jiffies since zero-window probing began; 0 not probing */
	__u32 fin_timeout;	/* netns sysctl tcp_fin_timeout, jiffies (F_SYSCTL) */
	__s32 linger2;		/* TCP_LINGER2, jiffies; 0 unset, negative: no FIN_WAIT2 */
	__u32 rto_max;		/* icsk_rto_max, jiffies; 0 the kernel has the constant TCP_RTO_MAX */
	__u16 lport;		/* host order */
	__u16 rport;
	__u16 exit_code;	/* wait(2) form, when F_EXITING */
	__u8 traits;		/* T_ */
	__u8 layer;		/* enum layer */
	__u8 mptcp_reset;	/* reason in the MP_TCPRST option of the peer; 0 none */
	__u8 bind;		/* BIND_ */
	__u8 refused;		/* segments of the peer that this socket refused, 255 or more */
	__u8 refused_reason;	/* enum skb_drop_reason of the last, its lowest 8 bits; 0 unknown */
	__u8 err;		/* sk_err at CLOSE, or set later by tcp_disconnect */
	__u8 err_soft;
	__u8 family;		/* AF_INET 2, AF_INET6 10 */
	__u8 old_state;		/* state that CLOSE was entered from */
	__u8 shutdown;		/* SHUT_ */
	__u8 probes_out;	/* icsk_probes_out: keepalive or window probes without answer */
	__u8 retransmits;	/* icsk_retransmits: repetitions of the oldest segment without answer */
	__u8 backoff;		/* highest icsk_backoff seen at a retransmission */
	__u8 fin_retrans;	/* retransmissions of a FIN */
	__u8 reset_reason;	/* enum sk_rst_reason (F_RST_REASON) */
	__u8 keepalive_probes;	/* TCP_KEEPCNT; 0 unset */
	__u8 sysctl_keepalive_probes;	/* F_SYSCTL */
	__u8 sysctl_retries2;
	__u8 sysctl_orphan_retries;
	__u8 end;		/* enum end */
	__u8 owner_from;	/* enum owner */
};

/* Single events, only when asked for (--transitions, --events). */
enum event_kind {
	EVENT_TRANSITION = 1,
	EVENT_RETRANSMIT,
	EVENT_TIMEWAIT,
	EVENT_DROP,
};

/* What was retransmitted. */
enum what {
	WHAT_DATA,
	WHAT_FIN,
	WHAT_PROBE,
	WHAT_SYN,
};

/* EVENT_TIMEWAIT: the names of the contract. */
enum timewait {
	TIMEWAIT_ENTERED = 1,
	TIMEWAIT_FIN_WAIT2,
	TIMEWAIT_OVERFLOW,
	TIMEWAIT_REUSED_BY_CONNECT,
	TIMEWAIT_REUSED_BY_SYN,
	TIMEWAIT_KILLED_BY_RESET,
	TIMEWAIT_REACKED,
	TIMEWAIT_EXPIRED,
};

/* EVENT_DROP. */
enum drop {
	DROP_PAWS = 1,
	DROP_PAWS_TIMEWAIT,
	DROP_CHALLENGE_ACK,
	DROP_OUT_OF_WINDOW_RESET,
	DROP_SIGNATURE_FAILURE,	/* TCP-MD5 or TCP-AO: the reason says which, and what */
	DROP_ACCEPT_QUEUE_FULL,
	DROP_REQUEST_QUEUE_FULL,	/* a SYN, without SYN cookies */
	DROP_SYN_COOKIE,	/* a SYN that was answered with a cookie, and forgotten */
	DROP_EMBRYONIC_RESET,	/* a request that a RST or a SYN ended, or an ACK of which no socket could be made */
};

/* One single event. 128 bytes: 136 with the ring buffer's header. */
struct event_record {
	__u64 at;		/* CLOCK_MONOTONIC ns */
	__u64 sk;
	__u64 born;		/* ns: first sight of what it is about; 0 unknown (age = at - born) */
	__u64 cgroup;
	__u8 comm[16];
	__u8 laddr[16];
	__u8 raddr[16];
	__u32 netns;
	__u32 pid;
	__u32 uid;
	__u32 flags;		/* F_CLIENT, F_SERVER, F_ADDR; of an embryonic reset F_RST_IN or F_SYN_HIT: by a RST, by a
				   SYN, or neither: by an ACK; of a SYN cookie F_SYSCTL: tcp_syncookies was 2 */
	__u32 rto;		/* jiffies */
	__u32 seq;		/* sequence number of the segment concerned */
	__u32 reason;		/* enum skb_drop_reason; 0 where the kernel has none */
	__u32 backlog;		/* of a listener: sk_max_ack_backlog; else 0 */
	__u32 queued;		/* of a listener: sk_ack_backlog, or of a SYN cookie and a full request queue its requests; else 0 */
	__u16 lport;
	__u16 rport;
	__u8 kind;		/* enum event_kind */
	__u8 family;
	__u8 from;		/* state before (transition), state (retransmit) */
	__u8 to;		/* state after */
	__u8 code;		/* enum timewait, enum drop or enum what */
	__u8 backoff;
	__u8 owner_from;
	__u8 pad;
};

/* A listener that closed while its process died. 72 bytes: 80 with the ring buffer's header. */
struct listener_end {
	__u64 at[1];		/* CLOCK_MONOTONIC ns */
	__u64 cgroup;
	__u8 comm[16];
	__u8 laddr[16];		/* network order; IPv4 in the first four bytes */
	__u32 netns;
	__u32 pid;
	__u32 flags;		/* F_EXITING, F_OOM */
	__u32 exit_code;	/* as wait(2) has it */
	__u16 lport;
	__u8 family;
	__u8 owner_from;
	__u8 pad[4];
};

/* Counters of the tracer's own, one row per CPU in a mapped array. */
enum stat {
	STAT_FILTERED,		/* connections that did not pass the filters of the kernel side */
	STAT_LOST_CLOSES,	/* close records that found the ring full */
	STAT_LOST_EVENTS,	/* event records that found the ring full */
	STAT_CONN_FULL,		/* connections that began without room to follow them */
	STAT_CLOSING_FULL,	/* no room to wait for the owner or the timewait socket */
	STAT_RST_NO_SOCKET,	/* RST sent for a segment that met no socket, a listener or a request */
	STAT_RST_TIMEWAIT,	/* RST sent by a timewait socket */
	STAT_RST_SOCKET,	/* RST sent for a full socket */
	STAT_UNSEEN_ENDS,	/* a socket's next life began, and no end of the one before was announced */
	STAT_SECOND,		/* runs that the kernel skipped, done by the second program */
	STAT_END_FULL,		/* facts of the end of a connection without a slot that found no room either */
	STAT_LOST_LISTENERS,	/* ends of listeners that found their ring full */
	STAT_MAX
};

#endif
