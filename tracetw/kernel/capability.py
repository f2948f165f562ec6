# SPDX-License-Identifier: Apache-2.0
"""What tracetw wants of a kernel, one row a hook or fact, and what is lost without it.

These are the tracepoints and every optional fact of a kernel; ``function_probe`` has what functions
show beyond them. Nothing here asks the kernel: that is ``load.probe``, whose answers come in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from tracetw.kernel.attach_point import FAMILIES, AttachType
from tracetw.kernel.btf import Btf
from tracetw.kernel.function_probe import FUNCTION_PROBES, place


@dataclass(frozen=True, slots=True)
class Answers:
    """What the kernel said when it was asked (``load.probe``). The default: nothing works.

    Attributes:
        refused: its error for each family of attach types; empty where it takes them.
        cmpxchg: BPF programs can compare and exchange atomically.
        absent: programs of function probes that it cannot place. BTF has the function, the kernel no symbol of its
            name: the compiler has made another one of it, such as ``tcp_send_challenge_ack.constprop.0``.
    """

    refused: Mapping[AttachType, str] = field(
        default_factory=lambda: dict.fromkeys(FAMILIES, "not asked")
    )
    cmpxchg: bool = False
    absent: frozenset[str] = frozenset()

    @property
    def types(self) -> frozenset[AttachType]:
        """The attach types that the kernel takes."""
        taken = [FAMILIES[family] for family, error in self.refused.items() if not error]
        return frozenset().union(*taken)


@dataclass(frozen=True, slots=True)
class Hook:
    """One BPF program.

    Attributes:
        program: name of the program and of its file ``bpf/probes/<program>.c``.
        event: raw tracepoint.
        system: its tracepoint system, for people.
        args: fewest arguments that the program touches; one more than the kernel has is refused
            at attach (``max_ctx_offset``, kernel/trace/bpf_trace.c).
        gives: what is known by it.
        lost: what is not known without it.
        needed: tracing makes no sense without it.
        stands_in_for: the better program that makes this one superfluous.
        interrupted: softirqs can interrupt the program, and the kernel's recursion guard then skips
            the nested run: attach a second copy (``bpf/hook.c``). That costs a run for every event.
            Other programs are almost never skipped (``tests/kernel/test_interrupted.py`` counts);
            their misses are counted as loss.
    """

    program: str
    event: str
    system: str
    args: int
    gives: str
    lost: str
    needed: bool = False
    stands_in_for: str = ""
    interrupted: bool = False


HOOKS = (
    Hook(
        "state_change",
        "inet_sock_set_state",
        "sock",
        3,
        "every close, its states and who closed",
        "everything",
        needed=True,
        interrupted=True,
    ),
    Hook(
        "destroy",
        "tcp_destroy_sock",
        "tcp",
        1,
        "the owner of connections that died under the application",
        "everything: records leave the kernel here",
        needed=True,
    ),
    Hook(
        "reset_sent",
        "tcp_send_reset",
        "tcp",
        2,
        "resets sent",
        "abort-* verdicts of the local side become undetermined",
    ),
    Hook(
        "reset_received",
        "tcp_receive_reset",
        "tcp",
        1,
        "resets received",
        "peer-reset and peer-lost-state become undetermined",
    ),
    Hook(
        "retransmit",
        "tcp_retransmit_skb",
        "tcp",
        2,
        "FIN retransmissions and their backoff",
        "retransmits.fin and retransmits.backoff are unknown",
    ),
    Hook(
        "socket_error",
        "inet_sk_error_report",
        "sock",
        1,
        "the error an application gets after connect(AF_UNSPEC)",
        "error of abort-disconnect and abort-listener is unknown",
    ),
    Hook(
        "packet_drop",
        "kfree_skb",
        "skb",
        4,
        "the end of FIN_WAIT2 after close(), drops, challenge ACKs",
        "drop events, a SYN on a live connection",
    ),
    Hook(
        "packet_drop_skb",
        "kfree_skb",
        "skb",
        2,
        "the end of FIN_WAIT2 after close(), by reading the packet",
        "no hook sees the peer's FIN after our close(): such closes are undetermined",
        stands_in_for="packet_drop",
    ),
    Hook(
        "timer_expire",
        "timer_expire_entry",
        "timer",
        1,
        "fin-wait2-timeout of orphans, TIME_WAIT expiry",
        "fin-wait2-timeout of orphans becomes undetermined",
    ),
)


@dataclass(frozen=True, slots=True)
class KernelFact:
    """An optional fact of a kernel.

    Attributes:
        macro: defined for the BPF programs where the kernel has it.
        present: does it? From its BTF and its answers.
        slug: its name in ``tracetw doctor`` and in the argument ``without`` of the planner.
        gives: what it adds.
        lost: what stays unknown without it.
        source: where tracetw looks it up.
    """

    macro: str
    present: Callable[[Btf, Answers], bool]
    slug: str
    gives: str
    lost: str
    source: str = "BTF"


def _has_third_argument(btf: Btf, event: str) -> bool:
    return (btf.tracepoint_args(event) or 0) > len(("sk", "skb"))


KERNEL_FACTS = (
    KernelFact(
        "HAVE_CAST",
        lambda btf, _: btf.function("bpf_rdonly_cast") is not None,
        "direct-loads",
        "programs load fields directly, without a helper: half the cost",
        "speed only",
    ),
    KernelFact(
        "HAVE_DROP_REASON",
        # Linux kernel commit c504e5c2f964 ("net: skb: introduce kfree_skb_reason()") (in v5.17)
        lambda btf, _: (btf.tracepoint_args("kfree_skb") or 0) > len(("skb", "location")),
        "drop-reason",
        "why the kernel dropped a packet",
        "no drop events; late data after close() and a RST on FIN_WAIT2 are inferred",
    ),
    KernelFact(
        "HAVE_RX_SK",
        lambda btf, _: (btf.tracepoint_args("kfree_skb") or 0) > len(("skb", "location", "reason")),
        "drop-socket",
        "the socket that a dropped packet met",
        "the packet's headers give the tuple: drop events without owner, no stale-syn-reset",
    ),
    KernelFact(
        "HAVE_RESET_REASON",
        # Linux kernel commits of the series "Implement reset reason mechanism" (in v6.10)
        lambda btf, _: _has_third_argument(btf, "tcp_send_reset"),
        "reset-reason",
        "the kernel's own reason for a RST, resets without a socket",
        "reasons are inferred; no hook sees late data on a timewait socket; OutRsts does not add up",
    ),
    KernelFact(
        "HAVE_RETRANSMIT_ERR",
        # third argument since v6.17: fires for failed repetitions as well
        lambda btf, _: _has_third_argument(btf, "tcp_retransmit_skb"),
        "retransmit-error",
        "retransmissions that failed to leave are not counted as sent",
        "nothing: there the tracepoint fires only for those that were sent",
    ),
    KernelFact(
        "HAVE_GUARD",
        # Linux kernel commit 05b24ff9b2cf ("bpf: Prevent bpf program recursion for raw tracepoint
        # probes") (in v6.1) skips a program that already runs on that CPU. The function that counts
        # these misses came with it.
        lambda btf, _: btf.function("bpf_prog_inc_misses_counter") is not None,
        "recursion-guard",
        "the kernel skips a program that interrupts itself, and counts it: a second program catches up",
        "nothing: there the interrupting run is not skipped",
    ),
    KernelFact(
        "HAVE_CMPXCHG",
        lambda _, answers: answers.cmpxchg,
        "cmpxchg",
        "two CPUs never take the same slot of a table",
        "a race for a slot is possible: one record may be lost, and is counted",
        source="BPF_CMPXCHG",
    ),
    KernelFact(
        "DEATH_ROW_IS_POINTER",
        # Linux kernel commit fbb8295248e1 ("tcp: allocate tcp_death_row outside of struct netns_ipv4")
        # (in v5.18); v6.1 moved it back into the structure.
        lambda btf, _: btf.field("netns_ipv4.tcp_death_row").pointer,
        "death-row-pointer",
        "the table of timewait sockets is behind a pointer",
        "nothing: it is a member of struct netns_ipv4 there",
    ),
    KernelFact(
        "TW_COUNTED_AT_BIRTH",
        # inet_timewait_sock.tw_kill tells the timer to count TW or TWKilled when it expires; v6.0
        # counts in inet_twsk_hashdance() and inet_twsk_alloc() instead and has no such field.
        lambda btf, _: not btf.has_field("inet_timewait_sock.tw_kill"),
        "timewait-counted-early",
        "the counter TW rises when TIME_WAIT begins",
        "TW rises when TIME_WAIT expires: TIME_WAIT that outlasts the trace is a stated difference",
    ),
)


@dataclass(frozen=True, slots=True)
class Capability:
    """One line of ``tracetw doctor``; ``refusal`` is the kernel's error when it was asked."""

    slug: str
    hook: str
    present: bool
    gives: str
    lost_without: str
    refusal: str = ""


def choose(
    btf: Btf, answers: Answers, without: frozenset[str] = frozenset()
) -> tuple[tuple[Hook, ...], tuple[Hook, ...], frozenset[str]]:
    """Look at a kernel: (hooks to use, hooks it lacks, macros of the facts it has).

    Args:
        btf: of the kernel.
        answers: of the kernel.
        without: slugs and programs to do without even if they are there, for tests.
    """
    have = frozenset(
        fact.macro
        for fact in KERNEL_FACTS
        if fact.slug not in without and fact.present(btf, answers)
    )
    there = [
        hook
        for hook in HOOKS
        if hook.program not in without and (btf.tracepoint_args(hook.event) or 0) >= hook.args
    ]
    names = {hook.program for hook in there}
    used = tuple(hook for hook in there if hook.stands_in_for not in names)
    stood_in = {hook.stands_in_for for hook in used}
    absent = tuple(
        hook for hook in HOOKS if hook.program not in names | stood_in and not hook.stands_in_for
    )
    # It is this program that reads the argument.
    if "packet_drop" not in names:
        have -= {"HAVE_RX_SK"}
    return used, absent, have


def survey(btf: Btf, answers: Answers) -> list[Capability]:
    """What a kernel with this BTF and these answers lets us see."""
    used, _, have = choose(btf, answers)
    rows = [
        Capability(hook.program, f"{hook.system}:{hook.event}", hook in used, hook.gives, hook.lost)
        for hook in HOOKS
        if hook in used or not hook.stands_in_for
    ]
    rows += [
        Capability(fact.slug, fact.source, fact.macro in have, fact.gives, fact.lost)
        for fact in KERNEL_FACTS
    ]
    return [*rows, *_families(answers), *_function_probes(btf, answers, have)]


# The key of each family: what there is to look for, what it gives, what there is without it.
_MEANS = {
    AttachType.FENTRY: (
        "BPF_PROG_TYPE_TRACING",
        "programs at the entry and return of kernel functions",
        "kprobes do the same, at a higher cost",
    ),
    AttachType.KPROBE: (
        "kprobe PMU",
        "function probes by breakpoints, where there is no fentry",
        "nothing if there is fentry; else only the facts of tracepoints",
    ),
}


def _families(answers: Answers) -> Iterator[Capability]:
    """Whether programs can be attached to functions."""
    for family, error in answers.refused.items():
        hook, gives, lost = _MEANS[family]
        yield Capability(family.value, hook, not error, gives, lost, error)


def _function_probes(btf: Btf, answers: Answers, have: frozenset[str]) -> list[Capability]:
    """Their rows, but of those that are not needed here."""
    events = frozenset(row.event for row in FUNCTION_PROBES if row.event)
    found = {
        each.probe.program: each for each in place(btf, answers.types, have, answers.absent, events)
    }
    rows = []
    for row in FUNCTION_PROBES:
        if row.unless & have:
            continue
        placed = found.get(row.program)
        how = placed.type.value if placed else "/".join(each.value for each in row.types)
        rows.append(
            Capability(
                row.program, f"{how}:{row.function}", placed is not None, row.gives, row.lost
            )
        )
    return rows
