/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Places in memory of the CPU, for what has no room on the stack of 512 bytes. A program in softirq may interrupt the
 * one that uses a place, one in hardirq that, one in NMI all. And where a tracepoint does not disable preemption
 * (include/linux/tracepoint.h: __DO_TRACE_CALL() under SRCU), a task may be stopped in its program, and those of
 * others run on its CPU (migrate_disable) and end after it. So a place is claimed, and the claim given back: counting
 * how many are in use would do only where the last one to begin is the first to end.
 *
 * Without HAVE_CMPXCHG (see cmpxchg()) no tracepoint can be preempted, and what interrupts between the look and the
 * claim has given the place back when the interrupted program goes on: the claim is as safe.
 */
#define PLACES 4

/* `none` is always 0: the verifier is not to know the number of the place, or it walks what follows once for each. */
#define ROOM_OF(name, type)                     \
	struct name##_place {                   \
		type is;                        \
		u64 busy;                       \
	};                                      \
	struct name##_room {                    \
		u64 none;                       \
		struct name##_place at[PLACES]; \
	}

/* A free place, claimed, with what was left in it; 0 where all are taken. GIVE_BACK() must follow. */
#define CLAIM(room)                                                                      \
	({                                                                               \
		u32 n_;                                                                  \
                                                                                         \
		for (n_ = 0; n_ < PLACES; n_++) {                                        \
			if (!(room)->at[n_].busy && cmpxchg(&(room)->at[n_].busy, 0, 1)) \
				break;                                                   \
		}                                                                        \
		n_ == PLACES ? 0 : &(room)->at[(n_ + (u32)(room)->none) & (PLACES - 1)]; \
	})

/* The compiler is to keep it behind what was done in the place. */
#define GIVE_BACK(place)                       \
	({                                     \
		asm volatile("" ::: "memory"); \
		(place)->busy = 0;             \
	})

/* For close records that found no room in the tables. */
ROOM_OF(spare, struct close_record);
BPF_TABLE("percpu_array", u32, struct spare_room, spare_rooms, 1);

static __always_inline struct spare_place *spare_claim(void)
{
	u32 zero = 0;
	struct spare_room *room = spare_rooms.lookup(&zero);

	return room ? CLAIM(room) : 0;
}

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
ROOM_OF(event, struct event_record);
BPF_TABLE("percpu_array", u32, struct event_room, event_rooms, 1);

static __always_inline struct event_place *event_claim(void)
{
	u32 zero = 0;
	struct event_room *room = event_rooms.lookup(&zero);

	return room ? CLAIM(room) : 0;
}
#endif
