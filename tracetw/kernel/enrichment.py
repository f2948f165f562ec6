# SPDX-License-Identifier: Apache-2.0
"""What the kernel's functions tell beyond its tracepoints, where it lets us look into them.

Tracepoints are the floor: every verdict is possible without these rows. A row is used where the
function exists as it is expected, by the first kind of attachment that works; one that fails is left
out, and the floor tells what it can.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tracetw.kernel.btf import Btf
from tracetw.kernel.load.attachment import Attachment, Kind, refusal

__all__ = ["ENRICHMENTS", "FAMILIES", "Enrichment", "Seat", "attachable", "refusals", "seats"]


@dataclass(frozen=True, slots=True)
class Enrichment:
    """One fact that a function tells.

    Attributes:
        program: name of the program and of its file ``bpf/probes/<program>.c``.
        function: kernel function.
        takes: structures that its first parameters point to; a function with others is another.
        gives: what is better with it.
        lost: what is known without it.
        result: what it returns is needed too.
        unless: macros of the facts (``capability.WANTS``) that make it superfluous.
        event: of use only for these single events; empty for the close records.
        replaces: hook of the floor that has nothing to add, but for the single events named.
        partner: program on a raw tracepoint that completes it, the tracepoint, its fewest arguments.
    """

    program: str
    function: str
    takes: tuple[str, ...]
    gives: str
    lost: str
    result: bool = False
    unless: frozenset[str] = frozenset()
    event: str = ""
    replaces: tuple[str, str] | None = None
    partner: tuple[str, str, int] | None = None

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """Kinds of attachment, best first."""
        return (Kind.FEXIT, Kind.KRETPROBE) if self.result else (Kind.FENTRY, Kind.KPROBE)


ENRICHMENTS = (
    Enrichment(
        "reset_flags",
        "tcp_reset",
        ("sock", "sk_buff"),
        "the flags of a RST received: of a peer that held the connection, or a stateless answer",
        "peer-reset or peer-lost-state follows from timestamps; undetermined if there are none",
    ),
    Enrichment(
        "timewait_packet",
        "tcp_timewait_state_process",
        ("inet_timewait_sock", "sk_buff", "tcphdr"),
        "what a timewait socket makes of each segment: late data, FIN and RST, without kfree_skb",
        "that a timewait socket answered late data is inferred from its end, and only its packets tell",
        result=True,
        # With the socket in kfree_skb, and resets of timewait sockets, the tracepoints tell all of it.
        unless=frozenset({"HAVE_RX_SK"}),
        replaces=("packet_drop_skb", "drop"),
    ),
    Enrichment(
        "timewait_refused",
        "inet_twsk_alloc",
        ("sock",),
        "a TIME_WAIT that the kernel refused (tcp_max_tw_buckets), from the refusal itself",
        "it follows from there being none and no other reason for that",
        result=True,
    ),
    Enrichment(
        "timewait_reused",
        "tcp_twsk_unique",
        ("sock", "sock"),
        "reused-by-connect at the connect(), also of a TIME_WAIT from before the trace",
        "it is told when the new connection is established, of a TIME_WAIT seen to begin",
        result=True,
        event="timewait",
    ),
    Enrichment(
        "challenge_ack",
        "tcp_send_challenge_ack",
        ("sock",),
        "the socket of a challenge ACK: the owner, and a SYN on a live connection (stale-syn-reset)",
        "challenge-ack events have no owner; stale-syn-reset is taken for peer-lost-state",
        unless=frozenset({"HAVE_RX_SK"}),
        partner=("challenged_packet", "kfree_skb", 3),
    ),
)


@dataclass(frozen=True, slots=True)
class Seat:
    """An enrichment on this kernel: where it is attached, and what its program is compiled with.

    Attributes:
        enrichment: the row.
        where: attachments: one, or for a return probe the entry of the function as well.
        parameters: how many the function has here.
    """

    enrichment: Enrichment
    where: tuple[Attachment, ...]
    parameters: int

    def replaces(self, events: frozenset[str]) -> frozenset[str]:
        """Hooks of the floor that have nothing to add, with these single events."""
        hook, needed_for = self.enrichment.replaces or ("", "")
        return frozenset({hook} if hook and needed_for not in events else ())

    @property
    def kind(self) -> Kind:
        """How it is attached."""
        return self.where[-1].kind

    @property
    def files(self) -> tuple[str, ...]:
        """Names of its sources in ``bpf/probes/``, without ``.c``."""
        partner = self.enrichment.partner
        return (self.enrichment.program, *((partner[0],) if partner else ()))


# Kinds that work or do not work together: by trampoline, best first, and by breakpoint.
FAMILIES = {
    Kind.FENTRY: frozenset({Kind.FENTRY, Kind.FEXIT}),
    Kind.KPROBE: frozenset({Kind.KPROBE, Kind.KRETPROBE}),
}


def refusals(btf: Btf) -> Iterator[tuple[Kind, str]]:
    """Key of each family, and what the kernel says to it: empty when it works."""
    there = _there(btf)
    for kind in FAMILIES:
        if not there:
            yield kind, "no function that is looked for"
            continue
        row, function, _ = there[0]
        yield kind, refusal(Attachment("trial", row.function, kind, function))


def attachable(btf: Btf) -> frozenset[Kind]:
    """The best kinds of attachment that this kernel lets us use."""
    for kind, words in refusals(btf):
        if not words:
            return FAMILIES[kind]
    return frozenset()


def seats(
    btf: Btf,
    kinds: Iterable[Kind],
    have: frozenset[str],
    without: frozenset[str] = frozenset(),
    events: frozenset[str] = frozenset(),
) -> list[Seat]:
    """The rows to use.

    Args:
        btf: of the kernel.
        kinds: of attachment that work.
        have: macros of the facts that the kernel's tracepoints give.
        without: programs, and values of :class:`Kind`, to do without.
        events: single events wanted.
    """
    usable = {kind for kind in kinds if kind.value not in without}
    found = []
    for row, function, parameters in _there(btf) if usable else ():
        kind = next((kind for kind in row.kinds if kind in usable), None)
        wanted = not row.unless & have and (not row.event or row.event in events)
        if kind is None or not wanted or row.program in without:
            continue
        where = [Attachment(row.program, row.function, kind, function)]
        if kind is Kind.KRETPROBE:
            entry = Attachment(f"{row.program}_enter", row.function, Kind.KPROBE, function)
            where.insert(0, entry)
        if row.partner:
            where.insert(0, Attachment(*row.partner[:2]))
        found.append(Seat(row, tuple(where), parameters))
    return found


def _there(btf: Btf) -> list[tuple[Enrichment, int, int]]:
    """Rows whose function this kernel has, the function's BTF id, the number of its parameters."""
    numbers = btf.functions(row.function for row in ENRICHMENTS)
    found = []
    for row in ENRICHMENTS:
        number = numbers.get(row.function)
        if number is None:
            continue
        parameters = btf.parameters(number)
        whole = row.partner is None or (btf.tracepoint_args(row.partner[1]) or 0) >= row.partner[2]
        if whole and parameters[: len(row.takes)] == row.takes:
            found.append((row, number, len(parameters)))
    return found
