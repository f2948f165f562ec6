/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * sock:inet_sk_error_report(sk): the application is told of an error. At ->CLOSE sk_err is final already, except
 * that tcp_disconnect() (AF_UNSPEC, a dying listener) sets ECONNRESET afterwards: only that is taken from here. It
 * also runs inside close() with SO_LINGER 0 (both directions shut by then), where nobody is left to be told.
 */
static __always_inline int on_socket_error(struct bpf_raw_tracepoint_args *ctx)
{
	struct close_record *r = closing_at(closing_slot(ctx->args[0]));

	if (r && !r->err && r->shutdown != SHUT_BOTH)
		r->err = GET(u32, sock, ctx->args[0], OFF_SK_ERR);
	return 0;
}
