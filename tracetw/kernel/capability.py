# SPDX-License-Identifier: Apache-2.0
"""What tracetw wants of a kernel, one row a hook or fact, and what is lost without it.

These are the floor, tracepoints and what they tell; ``enrichment`` has what functions tell beyond it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tracetw.kernel.btf import Btf
from tracetw.kernel.enrichment import ENRICHMENTS, FAMILIES, refusals, seats
from tracetw.kernel.load.attachment import Kind

__all__ = ["HOOKS", "Capability", "Hook", "Want", "choose", "survey"]


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
        interrupted: its softirqs interrupt it, so a second program stands behind it (``bpf/hook.c``)
            where the kernel guards against recursion. That costs a run for every event: the others,
            which are as good as never left out (``tests/kernel/test_interrupted.py`` tells), have
            none, and what they miss is counted as lost.
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
        "the peer's FIN after our close() is not seen: such closes are undetermined",
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
class Want:
    """A fact below the level of a hook: macro, test on the BTF, meaning."""

    macro: str
    present: Callable[[Btf], bool]
    slug: str
    gives: str
    lost: str


def _has_third_argument(btf: Btf, event: str) -> bool:
    return (btf.tracepoint_args(event) or 0) > len(("sk", "skb"))


WANTS = (
    Want(
        "HAVE_CAST",
        lambda btf: btf.function("bpf_rdonly_cast") is not None,
        "direct-loads",
        "fields are loaded, not copied by a helper: half the cost",
        "speed only",
    ),
    Want(
        "HAVE_DROP_REASON",
        # Linux kernel commit c504e5c2f964 ("net: skb: introduce kfree_skb_reason()") (in v5.17)
        lambda btf: (btf.tracepoint_args("kfree_skb") or 0) > len(("skb", "location")),
        "drop-reason",
        "why the kernel dropped a packet",
        "no drop events; late data after close() and a RST on FIN_WAIT2 are inferred",
    ),
    Want(
        "HAVE_RX_SK",
        lambda btf: (btf.tracepoint_args("kfree_skb") or 0) > len(("skb", "location", "reason")),
        "drop-socket",
        "the socket that a dropped packet met",
        "its tuple is read from the packet: drop events without owner, no stale-syn-reset",
    ),
    Want(
        "HAVE_RESET_REASON",
        # Linux kernel commits of the series "Implement reset reason mechanism" (in v6.10)
        lambda btf: _has_third_argument(btf, "tcp_send_reset"),
        "reset-reason",
        "the kernel's own reason for a RST, resets without a socket",
        "reasons are inferred; late data on a timewait socket is not seen; OutRsts does not add up",
    ),
    Want(
        "HAVE_RETRANSMIT_ERR",
        # third argument since v6.17: fires for failed repetitions as well
        lambda btf: _has_third_argument(btf, "tcp_retransmit_skb"),
        "retransmit-error",
        "repetitions that could not be sent are told apart",
        "nothing: there the hook fires for those that were sent only",
    ),
)


@dataclass(frozen=True, slots=True)
class Capability:
    """One line of ``tracetw doctor``; ``refusal`` is what the kernel said when it was asked."""

    slug: str
    hook: str
    present: bool
    gives: str
    lost_without: str
    refusal: str = ""


def choose(
    btf: Btf, without: frozenset[str] = frozenset()
) -> tuple[tuple[Hook, ...], tuple[Hook, ...], frozenset[str]]:
    """Look at a kernel: (hooks to use, hooks it lacks, macros of the facts it has).

    Args:
        btf: of the kernel.
        without: slugs and programs to do without even if they are there, for tests.
    """
    have = frozenset(w.macro for w in WANTS if w.slug not in without and w.present(btf))
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


def survey(btf: Btf | None = None, refused: Mapping[Kind, str] | None = None) -> list[Capability]:
    """What this kernel lets us see. Raises OSError and BtfError when there is no usable BTF.

    Args:
        btf: of the kernel.
        refused: what it says to each family of attachments (``enrichment.refusals``); None asks the
            running kernel.
    """
    btf = btf or Btf.read()
    refused = dict(refusals(btf)) if refused is None else refused
    used, _, have = choose(btf)
    richer = _enrichments(btf, refused, have)
    rows = [
        Capability(hook.program, f"{hook.system}:{hook.event}", hook in used, hook.gives, hook.lost)
        for hook in HOOKS
        if hook in used or not hook.stands_in_for
    ]
    rows += [
        Capability(want.slug, "BTF", want.macro in have, want.gives, want.lost) for want in WANTS
    ]
    return [*rows, *_families(refused), *richer]


# The key of each family: what there is to look for, what it gives, what there is without it.
_MEANS = {
    Kind.FENTRY: (
        "BPF_PROG_TYPE_TRACING",
        "programs at the entry and return of kernel functions",
        "kprobes stand in, at a higher price",
    ),
    Kind.KPROBE: (
        "kprobe PMU",
        "the same by breakpoints, where there is no fentry",
        "nothing if there is fentry; else tracepoints tell what they can",
    ),
}


def _families(refused: Mapping[Kind, str]) -> Iterator[Capability]:
    """Whether programs can be attached to functions: asked, since BTF does not tell."""
    for kind, words in refused.items():
        hook, gives, lost = _MEANS[kind]
        yield Capability(kind.value, hook, not words, gives, lost, words)


def _enrichments(btf: Btf, refused: Mapping[Kind, str], have: frozenset[str]) -> list[Capability]:
    """Their rows, but of those that are not needed here."""
    kinds = next((FAMILIES[kind] for kind, words in refused.items() if not words), frozenset())
    events = frozenset(row.event for row in ENRICHMENTS if row.event)
    found = {seat.enrichment.program: seat for seat in seats(btf, kinds, have, events=events)}
    rows = []
    for row in ENRICHMENTS:
        if row.unless & have:
            continue
        seat = found.get(row.program)
        how = seat.kind.value if seat else "/".join(kind.value for kind in row.kinds)
        rows.append(
            Capability(row.program, f"{how}:{row.function}", seat is not None, row.gives, row.lost)
        )
    return rows
