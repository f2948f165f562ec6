/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Arithmetic instead of branches. */

/*
 * What the compiler must not see through: it would turn arithmetic into branches, and the verifier walks all that comes
 * behind a branch twice.
 */
#define OPAQUE(x) asm volatile("" : "+r"(x))

/* 1 unless all bits are 0: the sign of bits | -bits. */
static __always_inline u64 nonzero(u64 bits)
{
	u64 negative = -bits;

	OPAQUE(negative);
	return (bits | negative) >> 63;
}
