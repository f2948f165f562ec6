/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * skb:kfree_skb(skb, location, reason), where the kernel tells why a packet is dropped but not which socket it met:
 * the socket is the one whose challenge ACK this CPU has just sent (challenge_ack.c). Every dropped packet of the host
 * comes by: four compares.
 */
int challenged_packet(struct bpf_raw_tracepoint_args *ctx)
{
	u32 reason = ctx->args[2], zero = 0;
	u64 *sk;

	if (reason != DROP_REASON_INVALID_SYN && reason != DROP_REASON_RESET &&
	    reason != DROP_REASON_TOO_OLD_ACK && reason != DROP_REASON_ACK_UNSENT_DATA)
		return 0;
	sk = challenged.lookup(&zero);
	if (!sk || !*sk)
		return 0;
#ifdef WANT_DROPS
	drop_event((const void *)*sk, (const void *)ctx->args[0], reason);
#endif
	segment_refused((const void *)*sk, (const void *)ctx->args[0], reason);
	*sk = 0;
	return 0;
}
