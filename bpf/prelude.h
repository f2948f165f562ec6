/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Maps and the small things that every hook uses.
 *
 * The planner (tracetw/kernel/plan.py) puts before this file: the offsets OFF_... and the TCP_ states from the
 * running kernel's BTF, HAVE_... for what this kernel has, WANT_... for what was asked for, the filter (filter.h),
 * and the sizes: WAYS keys in a set (a power of two), CONN_SETS, CLOSED_SETS and TW_SETS sets, CPUS rows of
 * the tables with one row a CPU (a power of two), RINGS of finished records.
 */

#ifndef __always_inline
#define __always_inline inline __attribute__((always_inline))
#endif

#define TCP_FLAG_FIN 0x01
#define TCP_FLAG_SYN 0x02
#define TCP_FLAG_RST 0x04
#define TCP_FLAG_ACK 0x10

#define CONN_SLOTS (CONN_SETS * WAYS)
#define CLOSED_SLOTS (CLOSED_SETS * WAYS)
#define SPARE_SLOTS (SPARE_SETS * WAYS)
#define TW_SLOTS (TW_SETS * WAYS)
#define STATS (CPUS * STAT_MAX)

/* A slot whose record is being filled or sent: no socket has this address. */
#define KEY_BUSY 1

/* Any kernel memory, at the price of a helper call; 0 where it cannot be read. */
#define FIELD(type, base, offset)                                                                \
	({                                                                                       \
		type field_ = 0;                                                                 \
		bpf_probe_read_kernel(&field_, sizeof(field_), (const void *)(base) + (offset)); \
		field_;                                                                          \
	})

/*
 * A field of a structure that BTF describes. With bpf_rdonly_cast() (Linux kernel commit a35b9af4ec2c ("bpf: Add a
 * kfunc for generic type cast") (in v6.2)) the verifier knows the type
 * and lets us load directly: one instruction that a fault turns into 0. The loader puts the kfunc's number where
 * it finds a call of CAST_CALL. A pointer read in this way can be followed, not computed with.
 */
#ifdef HAVE_CAST
static u64 (*cast_to)(const void *object, u32 type) = (void *)CAST_CALL;
#define GET(type, structure, base, offset) \
	(*(type *)(cast_to((const void *)(base), TYPE_##structure) + (offset)))
#else
#define GET(type, structure, base, offset) FIELD(type, base, offset)
#endif

/*
 * The tables are arrays in sets of WAYS, keys apart from values, not hash maps: the verifier inlines the lookup,
 * a set of keys is one cache line, and there is no allocation, no bucket lock, no LRU list. Each key has two sets
 * (table.h). A key is 0 (free), KEY_BUSY, the address of a socket, or the key of a tuple.
 */
struct keys {
	u64 key[WAYS];
};

#define CONN_STEPS 5

/* A live connection end: what its socket does not say at the end. */
struct conn {
	u64 at[CONN_STEPS];
	u32 path;
	u32 flags;
	u32 pid;
	u32 exit_code;
	u64 cgroup;
	u8 comm[16];
	u32 quiet; /* before the first FIN (T_QUIET): see record.h */
	u32 since_sent;
	u32 since_received;
	u32 icmp_from;
	u8 steps;
	u8 fin_retrans;
	u8 backoff;
	u8 owner_from;
	u8 reset_reason;
	u8 traits;
	u8 ttl;
	u8 rst_ttl;
	/* Segments that it refused, and the reason of the last one (refused.h). */
	u8 refused;
	u8 refused_reason;
	u8 icmp_error; /* errno that an ICMP error reported in SYN_SENT */
	u8 syn_segments; /* tcp_sock.segs_in and ... */
	u32 syn_at; /* jiffies, when F_SYN_HIT was set */
	u8 mptcp; /* MP_SUBFLOW, MP_FASTCLOSE_OUT: of a subflow that sent RST */
	u8 layer; /* LAYER_SOCKMAP, once it was seen */
	u8 pad[6];
};

BPF_F_TABLE("array", u32, struct keys, conn_keys, CONN_SETS + 1, 0);
BPF_F_TABLE("array", u32, struct conn, conns, CONN_SLOTS + WAYS, 0);
/*
 * Finished records that wait: for the application to close a dead socket (key: the socket), or for the
 * end of FIN_WAIT2 (key: the tuple). User space maps both and takes what waits for too long.
 */
BPF_F_TABLE("array", u32, struct keys, closed_keys, CLOSED_SETS + SPARE_SETS, BPF_F_MMAPABLE);
BPF_F_TABLE("array", u32, struct close_record, closed, CLOSED_SLOTS + SPARE_SLOTS, BPF_F_MMAPABLE);
BPF_F_TABLE("array", u32, struct keys, tw_keys, TW_SETS, BPF_F_MMAPABLE);
BPF_F_TABLE("array", u32, struct close_record, timewaits, TW_SLOTS, BPF_F_MMAPABLE);
/* By slot: at[AT_CLOSED] of the record that user space has reported. User space writes it. */
BPF_F_TABLE("array", u32, u64, closed_reported, CLOSED_SLOTS, BPF_F_MMAPABLE);
BPF_F_TABLE("array", u32, u64, tw_reported, TW_SLOTS, BPF_F_MMAPABLE);
#ifndef HAVE_RX_SK
/* The timewait socket of each slot, where a packet does not tell which one it met. */
BPF_F_TABLE("array", u32, u64, tw_sockets, TW_SLOTS, 0);
#endif
/* One record per CPU that is destroyed, but may still be answered with a RST (probes/destroy.c). */
BPF_F_TABLE("array", u32, struct close_record, awaits_rst, CPUS, BPF_F_MMAPABLE);
/* 1 while a program is at that record. */
BPF_TABLE("array", u32, u64, awaits_rst_busy, CPUS);
BPF_F_TABLE("array", u32, u64, stats, STATS, BPF_F_MMAPABLE);
BPF_F_TABLE("array", u32, u64, learned, 1, 0);
/* User space writes 1 here before it detaches: from then on no program begins a record. */
BPF_F_TABLE("array", u32, u64, stopped, 1, BPF_F_MMAPABLE);
/*
 * User space writes 1 here before it sleeps for long. Records that begin to wait in a table wake nobody: the next one
 * rings `bell` then.
 */
BPF_F_TABLE("array", u32, u64, asleep, 1, BPF_F_MMAPABLE);
/* It writes 1 here while it polls: then a record that comes into a ring wakes it. */
BPF_F_TABLE("array", u32, u64, polling, 1, BPF_F_MMAPABLE);
BPF_RINGBUF_OUTPUT(bell, 1);
/* Nobody waits for these: user space looks now and then. */
BPF_RINGBUF_OUTPUT(listener_ends, LISTENER_ENDS_PAGES);
/*
 * CPUs that write into one ring wait for each other's cache lines: `closes_of` has RINGS (a power of two) like `closes`,
 * which is the first of them. The loader makes the others.
 */
BPF_RINGBUF_OUTPUT(closes, CLOSES_PAGES);
BPF_ARRAY_OF_MAPS(closes_of, "closes", RINGS);
#ifdef WANT_EVENTS
BPF_RINGBUF_OUTPUT(events, EVENTS_PAGES);
#endif

static __always_inline void count(u32 stat)
{
	u32 key = (bpf_get_smp_processor_id() & (CPUS - 1)) * STAT_MAX + stat;
	u64 *value = stats.lookup(&key);

	if (value)
		__sync_fetch_and_add(value, 1);
}

static __always_inline int tracing_stopped(void)
{
	u32 zero = 0;
	u64 *flag = stopped.lookup(&zero);

	return flag && *flag;
}

#ifdef HAVE_CMPXCHG
static u64 (*compare_exchange)(u64 *place, u64 from, u64 to) = (void *)CMPXCHG_CALL;
#endif

/*
 * Change a slot's key from one value to another; 1 for the one caller that did. Atomic, since two CPUs, or a softirq
 * on top of a system call, may want the same slot.
 */
static __always_inline int cmpxchg(u64 *key, u64 from, u64 to)
{
#if defined(HAVE_CMPXCHG) && __clang_major__ >= 12
	return __sync_val_compare_and_swap(key, from, to) == from;
#elif defined(HAVE_CMPXCHG)
	/* LLVM 11 (the BCC of Ubuntu 22.04) has no such instruction: tracetw/kernel/load/atomic.py puts it here. */
	return compare_exchange(key, from, to) == from;
#else
	/*
	 * Before Linux kernel commit 5ffa25502b5a ("bpf: Add instructions for atomic_[cmp]xchg") (in v5.12) there is no
	 * cmpxchg. An atomic add without fetch exists and is also a full barrier; a race between two CPUs remains possible.
	 */
	if (*key != from)
		return 0;
	__sync_fetch_and_add(key, to - from);
	return 1;
#endif
}
