/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Slots of the tables: what is the same for all of them.
 *
 * A key has two sets that it may be in. It goes to the first one while few ways of that are taken, else to the one with
 * more room: so the sets fill evenly, and a table that is half full turns nobody away (ADR 0014, ADR 0017).
 */
#define FEW_TAKEN 2

/* What was found: the slot's key and its number; key 0 for nothing. */
struct slot {
	u64 *key;
	u32 index;
};

/*
 * The two sets of a key. Slab objects are neighbours: multiply, by odd numbers of no regularity, and scale the upper
 * half of the product to the number of sets. Multiples of one number stay one after the other: so mix before.
 */
static __always_inline u32 first_set(u64 key, u32 sets)
{
	return ((key ^ key >> 16) * 0x9E3779B97F4A7C15ull >> 32) * sets >> 32;
}

static __always_inline u32 second_set(u64 key, u32 sets)
{
	return ((key ^ key >> 16) * 0xBF58476D1CE4E5B9ull >> 32) * sets >> 32;
}

/*
 * The slot of this way; none for WAYS. The verifier is not to know the number of the way, or it would walk all that
 * follows once for each: the lower bits of a key are added, which are 0 (an aligned address, or so made).
 */
static __always_inline struct slot slot_at(struct keys *keys, u32 set, u32 way, u64 key)
{
	struct slot slot = {};

	if (way == WAYS)
		return slot;
	way = (way + (u32)key) & (WAYS - 1);
	slot.key = &keys->key[way];
	slot.index = set * WAYS + way;
	return slot;
}

static __always_inline struct slot slot_find(struct keys *keys, u32 set, u64 wanted)
{
	struct slot none = {};
	u32 way;

	if (!keys)
		return none;
#pragma unroll
	for (way = 0; way < WAYS; way++) {
		if (keys->key[way] == wanted)
			break;
	}
	return slot_at(keys, set, way, wanted);
}

/* A free slot for this key, marked. If two CPUs race for a way, the loser tries the next one. */
static __always_inline struct slot slot_take(struct keys *keys, u32 set, u64 key, u64 mark)
{
	struct slot none = {};
	u32 way;

	if (!keys)
		return none;
#pragma unroll
	for (way = 0; way < WAYS; way++) {
		if (!keys->key[way] && cmpxchg(&keys->key[way], 0, mark))
			break;
	}
	return slot_at(keys, set, way, key);
}

/*
 * 1 unless the key is free: the sign of key | -key. The compiler is not to see that, or it would branch, and the
 * verifier walk every combination of 8 branches.
 */
static __always_inline u32 taken(u64 key)
{
	u64 negative = -key;

	asm("" : "+r"(negative));
	return (key | negative) >> 63;
}

/* Free ways of a set. */
static __always_inline u32 room_in(const struct keys *keys)
{
	u32 room = WAYS, way;

#pragma unroll
	for (way = 0; way < WAYS; way++)
		room -= taken(keys->key[way]);
	return room;
}

/* Where a key may be: its two sets, of one table. No keys: no such set. */
struct sets {
	struct keys *keys;
	struct keys *others;
	u32 set;
	u32 other;
};

static __always_inline struct slot slot_in(const struct sets *sets, u64 key)
{
	struct slot slot = slot_find(sets->keys, sets->set, key);

	return slot.key ? slot : slot_find(sets->others, sets->other, key);
}

/* Where a new key goes, and the free ways there. */
struct place {
	struct keys *keys;
	u32 set;
	u32 room;
};

/* The emptier set; nowhere: no keys, no room. */
static __always_inline struct place place_in(const struct sets *sets)
{
	struct place place = {};
	u32 room, more;

	if (!sets->keys || !sets->others)
		return place;
	place.keys = sets->keys;
	place.set = sets->set;
	room = room_in(sets->keys);
	if (room < WAYS - FEW_TAKEN) {
		more = room_in(sets->others);
		if (more > room) {
			place.keys = sets->others;
			place.set = sets->other;
			room = more;
		}
	}
	place.room = room;
	return place;
}
