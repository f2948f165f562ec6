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

	if (!keys || way == WAYS)
		return slot;
	way = (way + (u32)key) & (WAYS - 1);
	slot.key = &keys->key[way];
	slot.index = set * WAYS + way;
	return slot;
}

/* The way of this key; WAYS where there is none. */
static __always_inline u32 way_of(const struct keys *keys, u64 wanted)
{
	u32 way;

	if (!keys)
		return WAYS;
#pragma unroll
	for (way = 0; way < WAYS; way++) {
		if (keys->key[way] == wanted)
			break;
	}
	return way;
}

static __always_inline struct slot slot_find(struct keys *keys, u32 set, u64 wanted)
{
	return slot_at(keys, set, way_of(keys, wanted), wanted);
}

/* In the one set, else in the other. */
static __always_inline struct slot slot_find_in(struct keys *keys, u32 set, struct keys *others,
						u32 other, u64 wanted)
{
	struct slot slot = slot_find(keys, set, wanted);

	return slot.key ? slot : slot_find(others, other, wanted);
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

/* Free ways of a set. */
static __always_inline u32 room_in(const struct keys *keys)
{
	u32 room = WAYS, way;

#pragma unroll
	for (way = 0; way < WAYS; way++)
		room -= nonzero(keys->key[way]);
	return room;
}

/* The set for a new key, and its free ways. */
struct place {
	struct keys *keys;
	u32 set;
	u32 room;
};

/* Where a key with these two sets goes; nowhere: no keys, no room. */
static __always_inline struct place emptier(struct keys *keys, u32 set, struct keys *others,
					    u32 other)
{
	struct place place = {};
	u32 room, more;

	if (!keys || !others)
		return place;
	room = room_in(keys);
	if (room < WAYS - FEW_TAKEN) {
		more = room_in(others);
		if (more > room) {
			keys = others;
			set = other;
			room = more;
		}
	}
	place.keys = keys;
	place.set = set;
	place.room = room;
	return place;
}
