/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * tcp_send_challenge_ack(sk), softirq or backlog: a segment that may be forged has come (RFC 5961). The function
 * does not know the segment, but it is freed next on this CPU: see challenged_packet.c.
 */
/* The socket, until then. */
BPF_TABLE("percpu_array", u32, u64, challenged, 1);

int challenge_ack(struct bpf_raw_tracepoint_args *ctx)
{
	struct call call = {};
	u32 zero = 0;
	u64 *sk = challenged.lookup(&zero);

	if (sk && CALL_challenge_ack(&call, ctx))
		*sk = call.args[0];
	return 0;
}
