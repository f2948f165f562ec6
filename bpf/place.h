/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What each CPU has of its own: the event that it has seen last, and room to build events. */

#ifdef HAVE_GUARD
/*
 * The event that the first program of a hook has seen last on this CPU, for the second one, which comes right behind it
 * (hook.c). A line of the cache for each CPU.
 */
struct seen {
	u64 event;
	u64 pad[7];
};

BPF_TABLE("array", u32, struct seen, seen_events, CPUS);

static __always_inline struct seen *seen_here(void)
{
	u32 cpu = bpf_get_smp_processor_id() & (CPUS - 1);

	return seen_events.lookup(&cpu);
}

static __always_inline void event_seen(u64 event)
{
	struct seen *seen = seen_here();

	if (seen)
		seen->event = event;
}

/* 1 once for each event_seen(), if no other event came between. */
static __always_inline int was_seen(u64 event)
{
	struct seen *seen = seen_here();

	/* There is always one. */
	if (!seen)
		return 1;
	if (seen->event != event)
		return 0;
	seen->event = 0;
	return 1;
}
#endif

#ifdef WANT_EVENTS
/*
 * Places for what has no room on the stack of 512 bytes. A program in softirq may interrupt the
 * one that uses a place, one in hardirq that, one in NMI all. And where a tracepoint does not disable preemption
 * (include/linux/tracepoint.h: __DO_TRACE_CALL() under SRCU), a task may be stopped in its program, and those of
 * others run on its CPU (migrate_disable) and end after it. So a place is claimed, and the claim given back: counting
 * how many are in use would do only where the last one to begin is the first to end.
 *
 * Without HAVE_CMPXCHG (see cmpxchg()) no tracepoint can be preempted, and what interrupts between the look and the
 * claim has given the place back when the interrupted program goes on: the claim is as safe.
 */
#define PLACES 4

struct event_place {
	struct event_record is;
	u64 busy;
};

struct event_room {
	/* Always 0: the verifier is not to know the number of the place, or it walks what follows once for each. */
	u64 none;
	struct event_place at[PLACES];
};

BPF_TABLE("percpu_array", u32, struct event_room, event_rooms, 1);

/* A free place, claimed, with what was left in it; 0 where all are taken. event_give_back() must follow. */
static __always_inline struct event_place *event_claim(void)
{
	u32 zero = 0, n;
	struct event_room *room = event_rooms.lookup(&zero);

	if (!room)
		return 0;
	for (n = 0; n < PLACES; n++) {
		if (!room->at[n].busy && cmpxchg(&room->at[n].busy, 0, 1))
			break;
	}
	return n == PLACES ? 0 : &room->at[(n + (u32)room->none) & (PLACES - 1)];
}

/* The compiler is to keep it behind what was done in the place. */
static __always_inline void event_give_back(struct event_place *place)
{
	asm volatile("" ::: "memory");
	place->busy = 0;
}
#endif
