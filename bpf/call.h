/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What a kernel function was called with, for the probes that sit on functions. The planner writes for each of
 * them CALL_<program>(call, ctx), by how it is attached: 0 when there is nothing to look at.
 *
 * Arguments are copied by a helper, since the verifier would give them types that nobody may compute with.
 */

struct call {
	u64 args[5];
	u64 result;
};

/* fentry, fexit: the context is an array of the arguments, and what is returned after the last of them. */
static __always_inline int call_of_trampoline(struct call *call, const void *ctx, u32 parameters)
{
	bpf_probe_read_kernel(call->args, sizeof(call->args), ctx);
	call->result = FIELD(u64, ctx, parameters * sizeof(u64));
	return 1;
}

#ifdef OFF_REGS_RESULT
/* kprobe: the context is the registers (struct pt_regs). */
static __always_inline int call_of_registers(struct call *call, const void *ctx)
{
	call->args[0] = FIELD(u64, ctx, OFF_REGS_ARG0);
	call->args[1] = FIELD(u64, ctx, OFF_REGS_ARG1);
	call->args[2] = FIELD(u64, ctx, OFF_REGS_ARG2);
	call->args[3] = FIELD(u64, ctx, OFF_REGS_ARG3);
	call->args[4] = FIELD(u64, ctx, OFF_REGS_ARG4);
	return 1;
}
#endif

#ifdef CALLS
/*
 * kretprobe: arguments are gone when a function returns, so a probe on its entry keeps them. Functions of
 * function probes at a return run with softirqs off, on one CPU, and do not call themselves.
 */
BPF_TABLE("percpu_array", u32, struct call, calls, CALLS);

static __always_inline int call_enter(u32 number, const void *ctx)
{
	struct call *call = calls.lookup(&number);

	if (call)
		call_of_registers(call, ctx);
	return 0;
}

static __always_inline int call_returned(struct call *call, const void *ctx, u32 number)
{
	struct call *entered = calls.lookup(&number);

	/* No argument: the function was entered before the probe was there. */
	if (!entered || !entered->args[0])
		return 0;
	__builtin_memcpy(call->args, entered->args, sizeof(call->args));
	entered->args[0] = 0;
	call->result = FIELD(u64, ctx, OFF_REGS_RESULT);
	return 1;
}
#endif
