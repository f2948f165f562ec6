/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Sends a record, and wakes user space if it polls. */

/*
 * The ring of a record: of this CPU; of MPTCP, one for the connection and its subflows, so that a reader who meets the
 * connection has met all that left before it.
 */
static __always_inline u32 ring_of(const struct close_record *r)
{
	u32 ring = bpf_get_smp_processor_id();

#ifdef HAVE_MPTCP
	if (r->mptcp_conn)
		ring = first_set(r->mptcp_conn, RINGS);
#endif
	return ring & (RINGS - 1);
}

/*
 * Left to itself the kernel interrupts this CPU for the first record after all were read (bpf_ringbuf_commit: irq_work),
 * although the reader only rests for some milliseconds. So a record wakes it only while it polls. A program that read
 * `polling` just before the reader set it wakes nobody: the reader looks again soon after (Session.listen).
 */
static __always_inline int output(struct close_record *r, u8 end)
{
	int ring = ring_of(r);
	void *to = closes_of.lookup(&ring);
	u32 zero = 0;
	u64 *polled = polling.lookup(&zero);

	r->end = end;
	/* The flag that follows BPF_RB_NO_WAKEUP is BPF_RB_FORCE_WAKEUP. A sum and no branch: the verifier walks each. */
	return to && polled &&
	       !bpf_ringbuf_output(to, r, sizeof(*r), BPF_RB_NO_WAKEUP + (*polled & 1));
}

static __always_inline void send(struct close_record *r, u8 end)
{
	if (!output(r, end))
		count(STAT_LOST_CLOSES);
}

/* A record that user space has reported already is no loss when the ring is full. */
static __always_inline void send_unless(const u64 *reported, struct close_record *r, u8 end)
{
	if (!output(r, end) && (!reported || *reported != r->at[AT_CLOSED]))
		count(STAT_LOST_CLOSES);
}

/* A record has begun to wait in a table. Its key was stored with a barrier before. */
static __always_inline void waits(void)
{
	u32 zero = 0;
	u64 *flag = asleep.lookup(&zero), nothing = 0;

	/* Whoever finds 1 here changes it to 0 and wakes user space. */
	if (flag && *flag && cmpxchg(flag, 1, 0))
		bell.ringbuf_output(&nothing, sizeof(nothing), BPF_RB_FORCE_WAKEUP);
}
