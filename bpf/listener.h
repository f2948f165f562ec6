/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A listener that closes because its process dies. do_exit() has stored the exit code before it closes the files
 * (exit_files(), or exit_task_work() for what __fput() was put off to), and of a listener that several processes
 * share the last one is it. A listener has no record of its own: without this the death of a server that had no
 * connection would leave no trace but the refusals.
 */
static __always_inline void listener_ended(const void *sk)
{
	struct listener_end e = {};

	if (GET(u16, sock, sk, OFF_SK_PROTOCOL) != IPPROTO_TCP || kernels_own(sk))
		return;
	BY_CURRENT(&e, OWNER_CLOSE);
	if (!(e.flags & F_EXITING) || tracing_stopped())
		return;
	e.at[0] = bpf_ktime_get_ns();
	e.family = GET(u16, sock_common, sk, OFF_SKC_FAMILY);
	if (e.family == AF_INET6)
		bpf_probe_read_kernel(e.laddr, 16, sk + OFF_SKC_V6_RCV_SADDR);
	else
		*(u32 *)e.laddr = GET(u32, sock_common, sk, OFF_SKC_RCV_SADDR);
	e.lport = bpf_ntohs(GET(u16, inet_sock, sk, OFF_INET_SPORT));
	e.netns = GET(u32, net, FIELD(u64, sk, OFF_SKC_NET), OFF_NET_INUM);
	if (listener_ends.ringbuf_output(&e, sizeof(e), BPF_RB_NO_WAKEUP))
		count(STAT_LOST_LISTENERS);
}
