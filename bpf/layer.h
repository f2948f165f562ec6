/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What stands above TCP: an upper layer protocol (ULP), or a sockmap (psock). */

/*
 * tcp_ulp_ops.name, a string of 16 bytes. struct tls_context and the like hold what the application has not read yet,
 * so that TCP's own numbers are not those of the application.
 */
static __always_inline u8 ulp_layer(u64 ops)
{
	char name[8] = {};

	bpf_probe_read_kernel(name, sizeof(name), (const void *)(ops + OFF_ULP_NAME));
	if (name[0] == 'm' && name[1] == 'p' && name[2] == 't' && name[3] == 'c')
		return LAYER_MPTCP;
	if (name[0] == 't' && name[1] == 'l' && name[2] == 's' && !name[3])
		return LAYER_TLS;
	if (name[0] == 'e' && name[1] == 's' && name[2] == 'p' && name[3] == 'i')
		return LAYER_ESPINTCP;
	if (name[0] == 's' && name[1] == 'm' && name[2] == 'c' && !name[3])
		return LAYER_SMC;
	return LAYER_ULP;
}

/*
 * Whether sk_user_data is a psock: a sockmap may carry data past TCP (tcp_bpf_sendmsg_redir, sk_psock_verdict_recv).
 * Its lowest bits are flags (SK_USER_DATA_PTRMASK); a psock points back to its socket. close() itself takes the psock
 * away before TCP sees it (sock_map_close), so the programs look while the socket lives, too; at the end that
 * closes first, probes/sockmap_close.c looks.
 */
static __always_inline int has_psock(const void *sk, u64 user_data)
{
#ifdef OFF_PSOCK_SK
	u64 psock = user_data & ~7ull;

	return psock && FIELD(u64, psock, OFF_PSOCK_SK) == (u64)sk;
#else
	return 0;
#endif
}
