/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The process that a socket belongs to: macros, since struct conn and struct close_record share the names of fields. */

/* include/linux/sched.h: no enum, so not in BTF; the values have not changed since 2.6. */
#define PF_WQ_WORKER 0x00000020
#define PF_EXITING 0x00000004
#define PF_KTHREAD 0x00200000

/*
 * The process of a task as the owner of d (struct conn or close_record): a thread may carry a name of its own, so
 * the name is the group leader's. OWNER_IS_CURRENT is the same of the current task: without bpf_rdonly_cast() three
 * helper calls cost less than seven loads. Read as a string where an earlier, longer name may stand behind its end:
 * __set_task_comm() pads it since Linux kernel commit 06c5088aeeda ("fs/exec: replace strlcpy with strscpy_pad in
 * __set_task_comm") (in v5.17), before bpf_rdonly_cast() came.
 */
#define CGROUP_OF_TASK(task)                                                   \
	({                                                                     \
		u64 set_ = GET(u64, task_struct, task, OFF_TASK_CGROUPS);      \
		u64 group_ = GET(u64, css_set, set_, OFF_CSS_SET_DFL_CGRP);    \
                                                                               \
		GET(u64, kernfs_node, GET(u64, cgroup, group_, OFF_CGROUP_KN), \
		    OFF_KERNFS_NODE_ID);                                       \
	})

#ifdef HAVE_CAST
#define OWNER_IS_TASK(d, task)                                                             \
	({                                                                                 \
		u64 leader_ = GET(u64, task_struct, task, OFF_TASK_GROUP_LEADER);          \
                                                                                           \
		(d)->pid = GET(u32, task_struct, task, OFF_TASK_TGID);                     \
		((u64 *)(d)->comm)[0] = GET(u64, task_struct, leader_, OFF_TASK_COMM);     \
		((u64 *)(d)->comm)[1] = GET(u64, task_struct, leader_, OFF_TASK_COMM + 8); \
		(d)->cgroup = CGROUP_OF_TASK(task);                                        \
	})
#define OWNER_IS_CURRENT(d, task) OWNER_IS_TASK(d, task)
#else
#define COMM_OF_TASK(d, task)                                                 \
	({                                                                    \
		u64 leader_ = FIELD(u64, task, OFF_TASK_GROUP_LEADER);        \
                                                                              \
		__builtin_memset((d)->comm, 0, sizeof((d)->comm));            \
		bpf_probe_read_kernel_str((d)->comm, sizeof((d)->comm),       \
					  (void *)(leader_ + OFF_TASK_COMM)); \
	})
#define OWNER_IS_TASK(d, task)                              \
	({                                                  \
		(d)->pid = FIELD(u32, task, OFF_TASK_TGID); \
		COMM_OF_TASK(d, task);                      \
		(d)->cgroup = CGROUP_OF_TASK(task);         \
	})
#define OWNER_IS_CURRENT(d, task)                            \
	({                                                   \
		(d)->pid = bpf_get_current_pid_tgid() >> 32; \
		COMM_OF_TASK(d, task);                       \
		(d)->cgroup = bpf_get_current_cgroup_id();   \
	})
#endif

#define NOBODY_OWNS(d, how)                                        \
	({                                                         \
		(d)->pid = 0;                                      \
		(d)->cgroup = 0;                                   \
		__builtin_memset((d)->comm, 0, sizeof((d)->comm)); \
		(d)->owner_from = (how);                           \
	})

/*
 * Whether the current task is on its way out of execve(): descriptors with FD_CLOEXEC are closed then, in the name of
 * the new program, of which no instruction has run yet. Its stack pointer is still where the stack begins
 * (start_thread).
 */
#ifdef OFF_REGS_SP
static void *(*current_task_btf)(void) = (void *)158; /* BPF_FUNC_get_current_task_btf */
static void *(*task_regs)(void *task) = (void *)175; /* BPF_FUNC_task_pt_regs */

static __always_inline int leaves_exec(const void *task)
{
	u64 regs = (u64)task_regs(current_task_btf());
	u64 mm = GET(u64, task_struct, task, OFF_TASK_MM);

	return GET(u64, pt_regs, regs, OFF_REGS_SP) == GET(u64, mm_struct, mm, OFF_MM_START_STACK);
}
#else
static __always_inline int leaves_exec(const void *task)
{
	return 0;
}
#endif

/*
 * The process got the socket from another one: that one called connect(), or the connection is older than the process.
 */
#define INHERITED_BY(d, task)                                                               \
	({                                                                                  \
		u64 leader_ = GET(u64, task_struct, task, OFF_TASK_GROUP_LEADER);           \
                                                                                            \
		((d)->owner_from == OWNER_CONNECT &&                                        \
		 (d)->pid != GET(u32, task_struct, task, OFF_TASK_TGID)) ||                 \
			((d)->flags & F_BORN &&                                             \
			 (d)->at[0] < GET(u64, task_struct, leader_, OFF_TASK_START_TIME)); \
	})

/*
 * A child that only passes through has the descriptors of its parent: the parent is the owner. Not of what a third
 * process connected, and not whoever adopted the child since, which is not the program that it was forked from.
 */
#define PARENT_OWNS(d, task, how)                                                    \
	({                                                                           \
		u64 parent_ = GET(u64, task_struct, task, OFF_TASK_REAL_PARENT);     \
                                                                                     \
		if ((d)->owner_from != OWNER_CONNECT) {                              \
			if (GET(u64, task_struct, parent_, OFF_TASK_SELF_EXEC_ID) == \
			    GET(u64, task_struct, task, OFF_TASK_PARENT_EXEC_ID)) {  \
				OWNER_IS_TASK(d, parent_);                           \
				(d)->owner_from = (how);                             \
			} else {                                                     \
				NOBODY_OWNS(d, OWNER_NONE);                          \
			}                                                            \
		}                                                                    \
	})

/*
 * The process that connects or closes, and whether it closes because it dies. Not a kernel thread (delayed fput, a
 * workqueue), which acts for somebody else. Nor a child on its way to another program: of vfork(), which runs in its
 * parent's memory until it calls execve() (the parent waits, or vfork_done is NULL: wait_for_vfork_done), or in
 * execve().
 */
#define BY_CURRENT(d, how)                                                                         \
	({                                                                                         \
		const void *task_ = (const void *)bpf_get_current_task();                          \
		u32 task_flags_ = GET(u32, task_struct, task_, OFF_TASK_FLAGS);                    \
                                                                                                   \
		if (task_flags_ & (PF_KTHREAD | PF_WQ_WORKER)) {                                   \
			if ((how) == OWNER_CLOSE)                                                  \
				(d)->flags |= F_KTHREAD;                                           \
		} else if (GET(u64, task_struct, task_, OFF_TASK_VFORK_DONE) ||                    \
			   ((how) == OWNER_CLOSE && !(task_flags_ & PF_EXITING) &&                 \
			    INHERITED_BY(d, task_) && leaves_exec(task_))) {                       \
			PARENT_OWNS(d, task_, how);                                                \
		} else {                                                                           \
			OWNER_IS_CURRENT(d, task_);                                                \
			(d)->owner_from = (how);                                                   \
			if ((how) == OWNER_CLOSE && task_flags_ & PF_EXITING) {                    \
				u64 signal_ = GET(u64, task_struct, task_, OFF_TASK_SIGNAL);       \
                                                                                                   \
				(d)->flags |= F_EXITING;                                           \
				(d)->exit_code = GET(u32, task_struct, task_, OFF_TASK_EXIT_CODE); \
				if (GET(u64, signal_struct, signal_, OFF_SIGNAL_OOM_MM))           \
					(d)->flags |= F_OOM;                                       \
			}                                                                          \
		}                                                                                  \
	})

/* sk_alloc() was asked for a socket of the kernel's own, or it is a child of one. */
static __always_inline int made_by_kernel(const void *sk)
{
	return GET(u8, sock, sk, OFF_SK_KERN) & MASK_SK_KERN;
}

/*
 * Whether a file of a socket that the kernel made is the kernel's too. sock_alloc_file() names it after the protocol of
 * the socket that it is made for: "TCP" or "TCPv6" if that is this one, as of NFS (xs_create_sock, svc_tcp_accept), 9p and
 * NVMe. Where a process got the file, it had asked for another protocol: "MPTCP", "SMC". sk_user_data tells less: sunrpc
 * takes it away before it closes, 9p sets none.
 */
static __always_inline int file_of_kernel(u64 file)
{
	u64 dentry = FIELD(u64, file, OFF_FILE_DENTRY);
	char name[4] = {};

	bpf_probe_read_kernel(name, sizeof(name),
			      (const void *)FIELD(u64, dentry, OFF_DENTRY_NAME));
	return name[0] == 'T' && name[1] == 'C' && name[2] == 'P';
}

/*
 * The kernel's own socket, of no process: it has no file, or one that no process has open. A subflow of MPTCP is made by
 * the kernel too, and gets the struct socket of the application once it is connected or accepted (mptcp_sock_graft).
 */
static __always_inline int kernels_own(const void *sk)
{
	u64 socket, file;

	if (!made_by_kernel(sk))
		return 0;
	socket = FIELD(u64, sk, OFF_SK_SOCKET);
	if (!socket)
		return 0;
	file = FIELD(u64, socket, OFF_SOCKET_FILE);
	return !file || file_of_kernel(file);
}
