# SPDX-License-Identifier: Apache-2.0
"""Function probes: what the kernel's functions show beyond its tracepoints. All are optional.

The required tracepoints make every verdict possible. A row is used where the function exists with the
parameters that it expects, through the first attach type that works. If the kernel refuses one, the
tracepoints remain.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tracetw.kernel.attach_point import AttachPoint, AttachType
from tracetw.kernel.btf import Btf


@dataclass(frozen=True, slots=True)
class FunctionProbe:
    """One program on a kernel function, for one fact.

    Attributes:
        program: name of the program and of its file ``bpf/probes/<program>.c``.
        function: kernel function.
        takes: structures that its first parameters point to; a function with others is another.
        gives: what is better with it.
        lost: what is known without it.
        result: what it returns is needed too.
        unless: macros of the facts (``capability.KERNEL_FACTS``) that make it superfluous.
        event: of use only for these single events; empty for the close records.
        replaces: required tracepoint that has nothing to add, but for the single events named.
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
    def types(self) -> tuple[AttachType, ...]:
        """Attach types, best first."""
        return (
            (AttachType.FEXIT, AttachType.KRETPROBE)
            if self.result
            else (AttachType.FENTRY, AttachType.KPROBE)
        )


FUNCTION_PROBES = (
    FunctionProbe(
        "reset_flags",
        "tcp_reset",
        ("sock", "sk_buff"),
        "the flags and the TTL of a RST received: as an open connection sends it, or a stateless answer",
        "peer-reset or peer-lost-state follows from timestamps; undetermined if there are none",
    ),
    FunctionProbe(
        "handshake_ttl",
        "tcp_init_transfer",
        ("sock", "int", "sk_buff"),
        "the TTL of the peer's segment in the handshake: a RST with another one took another way",
        "whether a RST has the TTL of the peer is unknown",
    ),
    FunctionProbe(
        "icmp_error",
        "tcp_v4_err",
        ("sk_buff",),
        "who sent the ICMP error that ended an attempt to connect (IPv4)",
        "the source of ICMP errors is unknown",
    ),
    FunctionProbe(
        "sockmap_close",
        "sock_map_close",
        ("sock",),
        "that a sockmap carried data past TCP, of the end that closes first",
        "it is seen where the peer closed first, or a RST came; else the numbers of TCP are taken for the application's",
    ),
    FunctionProbe(
        "timewait_packet",
        "tcp_timewait_state_process",
        ("inet_timewait_sock", "sk_buff", "tcphdr"),
        "what a timewait socket makes of each segment: late data, FIN and RST, without kfree_skb",
        "late data is inferred from the end of the timewait socket and the packets that met it",
        result=True,
        # With the socket in kfree_skb, and resets of timewait sockets, the tracepoints tell all of it.
        unless=frozenset({"HAVE_RX_SK"}),
        replaces=("packet_drop_skb", "drop"),
    ),
    FunctionProbe(
        "timewait_refused",
        "inet_twsk_alloc",
        ("sock",),
        "a TIME_WAIT that the kernel refused (tcp_max_tw_buckets), from the refusal itself",
        "a conclusion: no TIME_WAIT socket, and no other reason for that",
        result=True,
    ),
    FunctionProbe(
        "timewait_reused",
        "tcp_twsk_unique",
        ("sock", "sock"),
        "reused-by-connect at the connect(), also of a TIME_WAIT from before the trace",
        "the event comes when the new connection is established, and only for a TIME_WAIT that began under the trace",
        result=True,
        event="timewait",
    ),
    FunctionProbe(
        "listener_syn",
        "tcp_conn_request",
        ("request_sock_ops", "tcp_request_sock_ops", "sock", "sk_buff"),
        "which listener a SYN met, and its queues",
        "accept-queue-full events tell of the handshake's ACK only, and of no SYN",
        event="drop",
    ),
    FunctionProbe(
        "request_made",
        "inet_reqsk_alloc",
        ("request_sock_ops", "sock"),
        "the queues of the listener let the SYN pass",
        "no request-queue-full events: whether a SYN was dropped is not seen",
        event="drop",
    ),
    FunctionProbe(
        "listener_dropped",
        "tcp_conn_request",
        ("request_sock_ops", "tcp_request_sock_ops", "sock", "sk_buff"),
        "a SYN that a listener dropped since one of its queues was full",
        "accept-queue-full events tell of the handshake's ACK only, and of no SYN",
        result=True,
        event="drop",
    ),
    FunctionProbe(
        "syn_cookie",
        "cookie_v4_init_sequence",
        ("sk_buff",),
        "a SYN that a listener answered with a cookie (IPv4, with listener_syn); SyncookiesSent adds up",
        "nothing tells that SYN cookies are in use",
        event="drop",
    ),
    FunctionProbe(
        "syn_cookie_v6",
        "cookie_v6_init_sequence",
        ("sk_buff",),
        "the same of IPv6",
        "nothing tells that SYN cookies are in use",
        event="drop",
    ),
    FunctionProbe(
        "request_reset",
        "tcp_check_req",
        ("sock", "sk_buff", "request_sock"),
        "a connection in SYN_RECV that a segment ended: it has no socket; EmbryonicRsts adds up",
        "nothing tells of them",
        result=True,
        event="drop",
    ),
    FunctionProbe(
        "challenge_ack",
        "tcp_send_challenge_ack",
        ("sock",),
        "the socket of a challenge ACK: the owner, and a SYN on a live connection (stale-syn-reset)",
        "challenge-ack events have no owner; stale-syn-reset becomes peer-lost-state",
        unless=frozenset({"HAVE_RX_SK"}),
        partner=("challenged_packet", "kfree_skb", 3),
    ),
)


@dataclass(frozen=True, slots=True)
class PlacedProbe:
    """A function probe on this kernel: where it is attached, and what its program is compiled with.

    Attributes:
        probe: the row.
        points: one, or for a return probe the entry of the function as well.
        parameters: how many the function has here.
    """

    probe: FunctionProbe
    points: tuple[AttachPoint, ...]
    parameters: int

    def replaces(self, events: frozenset[str]) -> frozenset[str]:
        """Required tracepoints that have nothing to add, with these single events."""
        hook, needed_for = self.probe.replaces or ("", "")
        return frozenset({hook} if hook and needed_for not in events else ())

    @property
    def type(self) -> AttachType:
        """How it is attached."""
        return self.points[-1].type

    @property
    def files(self) -> tuple[str, ...]:
        """Names of its sources in ``bpf/probes/``, without ``.c``."""
        partner = self.probe.partner
        return (self.probe.program, *((partner[0],) if partner else ()))


def place(
    btf: Btf,
    types: Iterable[AttachType],
    have: frozenset[str],
    without: frozenset[str] = frozenset(),
    events: frozenset[str] = frozenset(),
) -> list[PlacedProbe]:
    """The rows to use on this kernel, with their attach points.

    Args:
        btf: of the kernel.
        types: attach types that work.
        have: macros of the facts that the kernel's tracepoints give.
        without: programs, and values of :class:`AttachType`, to do without.
        events: single events wanted.
    """
    usable = {each for each in types if each.value not in without}
    found = []
    for row, function, parameters in candidates(btf) if usable else ():
        attach_type = next((each for each in row.types if each in usable), None)
        wanted = not row.unless & have and (not row.event or row.event in events)
        if attach_type is None or not wanted or row.program in without:
            continue
        points = [AttachPoint(row.program, row.function, attach_type, function)]
        if attach_type is AttachType.KRETPROBE:
            entry = f"{row.program}_enter"
            points.insert(0, AttachPoint(entry, row.function, AttachType.KPROBE, function))
        if row.partner:
            points.insert(0, AttachPoint(*row.partner[:2]))
        found.append(PlacedProbe(row, tuple(points), parameters))
    return found


def candidates(btf: Btf) -> list[tuple[FunctionProbe, int, int]]:
    """Rows whose function this kernel has, the function's BTF id, the number of its parameters."""
    numbers = btf.functions(row.function for row in FUNCTION_PROBES)
    found = []
    for row in FUNCTION_PROBES:
        number = numbers.get(row.function)
        if number is None:
            continue
        parameters = btf.parameters(number)
        whole = row.partner is None or (btf.tracepoint_args(row.partner[1]) or 0) >= row.partner[2]
        if whole and parameters[: len(row.takes)] == row.takes:
            found.append((row, number, len(parameters)))
    return found
