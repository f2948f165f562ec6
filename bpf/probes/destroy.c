/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * tcp:tcp_destroy_sock(sk): the end of every full socket. Right after ->CLOSE for an orphan or inside
 * close(); later, in the process that closes it, when a RST or a timer had killed the connection under it.
 * That makes it the place where the owner of such a connection is known for certain.
 */
int destroy(struct bpf_raw_tracepoint_args *ctx)
{
	u64 sk = ctx->args[0];
	struct slot slot = closing_slot(sk);
	struct close_record *r = closing_at(slot);
	struct conn *c;
	u32 one = 1;

	if (r) {
		/* Not orphaned at ->CLOSE: only close() can bring it here. */
		if (!(r->flags & F_DEAD))
			CLOSED_BY_CURRENT(r);
		if ((r->flags & (F_DEAD | F_RST_IN | F_RST_REPLY)) == (F_DEAD | F_RST_IN))
			hold(r);
		else
			send(r, END_DESTROY);
		slot_free(slot, r);
		return 0;
	}
	slot = conn_slot(sk);
	if (!slot.key)
		return 0;
	/* ->CLOSE was missed (a softirq that interrupted the same program): what is left of it. */
	c = conn_at(slot.index);
	r = spare.lookup(&one);
	if (c && r && load_socket(r, (const void *)sk, 0)) {
		load_history(r, c);
		r->flags |= F_MISSED;
		record_step(r, TCP_CLOSE);
		if (PASSES(r)) {
			count(STAT_CLOSES);
			send(r, END_DESTROY);
		}
	}
	*slot.key = 0;
	return 0;
}
