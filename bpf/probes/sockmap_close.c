/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * sock_map_close(sk, timeout), in the process that closes: close() of a socket in a sockmap. It takes the psock away, then
 * goes on with TCP's own close, whose first change of state comes too late to see it. Only sockets in a sockmap have it: also
 * listeners (sock_map_sk_state_allowed), and connections that a RST or a timer has ended, whose record is made.
 */
int sockmap_close(struct bpf_raw_tracepoint_args *ctx)
{
	struct call call = {};
	struct conn *c;
	u8 state;

	if (!CALL_sockmap_close(&call, ctx) ||
	    GET(u16, sock, call.args[0], OFF_SK_PROTOCOL) != IPPROTO_TCP)
		return 0;
	state = GET(u8, sock_common, call.args[0], OFF_SKC_STATE);
	if (state == TCP_LISTEN || state == TCP_CLOSE)
		return 0;
	c = conn_open(call.args[0], FOR_LIFE);
	if (c)
		c->layer = LAYER_SOCKMAP;
	return 0;
}
