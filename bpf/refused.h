/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Segments that came in the peer's name and that a full socket refused; a SYN among them may announce a RST. */

/* tcp_inbound_hash(): a TCP-MD5 (RFC 2385) or TCP-AO (RFC 5925) signature was missing, unexpected or wrong. */
static __always_inline int is_signature_failure(u32 reason)
{
	return reason == DROP_REASON_MD5_NOT_FOUND || reason == DROP_REASON_MD5_UNEXPECTED ||
	       reason == DROP_REASON_MD5_FAILURE || reason == DROP_REASON_AO_NOT_FOUND ||
	       reason == DROP_REASON_AO_UNEXPECTED || reason == DROP_REASON_AO_KEY_NOT_FOUND ||
	       reason == DROP_REASON_AO_FAILURE;
}

/*
 * The kernel's reasons to refuse a segment that its checks did not accept: not those of what had arrived before (old
 * data, an old ACK, a keepalive probe), for which there was no room, or whose checksum is wrong.
 */
static __always_inline int is_refusal(u32 reason)
{
	return reason == DROP_REASON_INVALID_SYN || reason == DROP_REASON_RESET ||
	       reason == DROP_REASON_INVALID_SEQUENCE || reason == DROP_REASON_INVALID_ACK ||
	       reason == DROP_REASON_TOO_OLD_ACK || reason == DROP_REASON_ACK_UNSENT_DATA ||
	       reason == DROP_REASON_PAWS || is_signature_failure(reason);
}

/* Ignore an accepted RST (its socket is in CLOSE by now) and a segment that meets a listener or a request. */
static __always_inline void segment_refused(const void *sk, const void *skb, u32 reason)
{
	u8 state = GET(u8, sock_common, sk, OFF_SKC_STATE);
	struct conn *c;

	if (state == TCP_CLOSE || state == TCP_LISTEN || state == TCP_NEW_SYN_RECV)
		return;
	c = conn_open((u64)sk, FOR_END);
	if (!c)
		return;
	c->refused += c->refused < 255;
	c->refused_reason = reason;
	/* A repeated SYN+ACK has the same reason: the ACK of the handshake was lost, or the accept queue was full. */
	if (reason == DROP_REASON_INVALID_SYN &&
	    !(FIELD(u8, skb, OFF_SKB_CB + OFF_CB_TCP_FLAGS) & TCP_FLAG_ACK)) {
		c->flags |= F_SYN_HIT;
		c->syn_at = bpf_jiffies64();
		c->syn_segments = GET(u32, tcp_sock, sk, OFF_TCP_SEGS_IN);
	}
}

/*
 * Who sent the SYN answers our challenge ACK at once, and repeats the SYN after a second if one of the two was lost. So
 * the mark holds for three seconds, and only if the RST is the next segment (tcp_segs_in() has counted it already).
 */
static __always_inline int syn_hit_is_old(const struct conn *c, const void *sk)
{
	u8 segments = GET(u32, tcp_sock, sk, OFF_TCP_SEGS_IN) - c->syn_segments;

	return segments > 1 || (u32)bpf_jiffies64() - c->syn_at > 3 * HZ;
}
