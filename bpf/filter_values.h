/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The values of a filter, as user space hands them to the programs. This header is the only description of the
 * layout: the NumPy dtype in tracetw/kernel/filter_values.py is generated from it (scripts/gen-record).
 */
#ifndef TRACETW_FILTER_VALUES_H
#define TRACETW_FILTER_VALUES_H

/* Values of one kind that there is room for. */
#define VALUES_MAX 32

/*
 * Of each kind how many values there are, and the values. Addresses are words as a program loads them from
 * skc_daddr or skc_v6_daddr: network order, read as native integers.
 */
struct filter_values {
	__u32 family; /* 4, 6; 0 both */
	__u32 ports_count; /* local or remote port */
	__u32 local_ports_count;
	__u32 remote_ports_count;
	__u32 netns_count;
	__u32 nets4_count; /* networks of both kinds are one condition: on the local or the remote address */
	__u32 nets6_count;
	__u32 ports[VALUES_MAX]; /* lowest port << 16 | highest port, host order */
	__u32 local_ports[VALUES_MAX];
	__u32 remote_ports[VALUES_MAX];
	__u32 netns[VALUES_MAX]; /* inode numbers */
	__u32 nets4[VALUES_MAX * 2]; /* address, mask */
	__u32 nets6[VALUES_MAX * 8]; /* four words of address, four of mask */
};

#endif
