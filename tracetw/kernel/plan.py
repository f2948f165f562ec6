# SPDX-License-Identifier: Apache-2.0
"""Decide what to load on this kernel: from its BTF and its answers to programs, macros and C text.

Pure: nothing here makes a system call (tests/test_architecture.py holds that).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tracetw.errors import CannotTrace
from tracetw.event.names import KernelNames
from tracetw.kernel.attach_point import FAMILIES, AttachPoint, AttachType
from tracetw.kernel.btf import Btf, BtfError
from tracetw.kernel.capability import Answers, Hook, choose
from tracetw.kernel.filter import KernelFilter
from tracetw.kernel.function_probe import PlacedProbe, place
from tracetw.kernel.layers import layers
from tracetw.kernel.layout import (
    FieldMissing,
    casts,
    constants,
    load_facts,
    registers,
    timewait_answers,
)

__all__ = ["CPUS", "HEADERS", "SECOND", "WAYS", "Plan", "Sizes", "kernel_names", "make_plan"]

# In this order, before the probes.
HEADERS = (
    "record.h",
    "filter_values.h",
    "prelude.h",
    "opaque.h",
    "place.h",
    "filter.h",
    "slot.h",
    "ring.h",
    "table.h",
    "refused.h",
    "owner.h",
    "layer.h",
    "sock.h",
    "packet.h",
    "icmp.h",
    "event.h",
    "timewait_event.h",
    "subflow.h",
    "mptcp.h",
    "listener.h",
    "timewait.h",
    "close.h",
)
# After them, where there are function probes.
CALL_HEADERS = ("call.h", "handshake.h")
SECOND = "second_"
"""Before the name of a program's second one: see bpf/hook.c."""
# What --events asks for -> macro.
EVENTS = {
    "transition": "WANT_TRANSITIONS",
    "retransmit": "WANT_RETRANSMITS",
    "timewait": "WANT_TIMEWAITS",
    "drop": "WANT_DROPS",
}


WAYS = 8
"""Slots of one set of the tables: their keys fill one cache line."""
CPUS = 1024
"""Rows of the tables with one row a CPU; CPUs beyond share them."""
# Slots for each connection that there is room for. So many are free that no pair of sets is full (simulated with a
# million keys); `closed` and `timewaits` reserve fewer ways of a set (bpf/table.h), so fewer do.
_SPREAD, _CLOSED_SPREAD, _TIMEWAIT_SPREAD = 2.5, 2, 1.5
_MOST_RINGS = 4


LISTENER_ENDS_PAGES = 16
"""Of the ring of listeners that closed as their process died: 819 of them between two looks."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Room in the kernel: slots of the tables, multiples of ``WAYS``; pages of the rings, powers of two.

    ``rings``, a power of two, share the pages of finished connections: 2,048 hold 26,214 of them, 90 ms of
    the hardest storm that two cores can make.
    """

    conn_slots: int = 5 << 16
    closed_slots: int = 1 << 15
    timewait_slots: int = 3 << 14
    closes_pages: int = 2048
    events_pages: int = 1024
    timewait_owners: int = 1 << 17
    rings: int = 1
    spare_sets: int = 1

    @classmethod
    def for_connections(cls, live: int, cpus: int = 1) -> Sizes:
        """Room for so many live connections.

        And for an eighth as many sockets that died under their application, and a quarter as many
        connections in FIN_WAIT2. With a ring for each of so many CPUs, but few of them, since one
        busy CPU has no more than its ring.
        """
        return cls(
            conn_slots=_whole_sets(live * _SPREAD),
            closed_slots=_whole_sets(live / 8 * _CLOSED_SPREAD),
            timewait_slots=_whole_sets(live / 4 * _TIMEWAIT_SPREAD),
            rings=1 << (min(cpus, _MOST_RINGS).bit_length() - 1),
            spare_sets=1 << (min(cpus, CPUS) - 1).bit_length(),
        )

    @property
    def connections(self) -> int:
        """Live connections that can be followed."""
        return int(self.conn_slots / _SPREAD)


def _whole_sets(slots: float) -> int:
    return -(-int(slots) // WAYS) * WAYS


@dataclass(frozen=True, slots=True)
class Plan:
    """What the loader is to compile and attach.

    Attributes:
        hooks: programs in the order to attach them: the one that opens records comes last, so that
            no record is opened that nobody would close.
        absent: hooks that this kernel lacks.
        probes: function probes, attached before the hooks.
        refused: function probes that were planned and that the kernel refused, with its error.
        macros: name to value, put before the sources.
        cast_function: BTF id of ``bpf_rdonly_cast``; 0 without it.
        generated: C text made from BTF.
        headers: files of ``bpf/`` in order.
        names: enum names of this kernel.
        sizes: room in the kernel.
        events: single events wanted.
        tw_at_birth: the counter TW goes up when TIME_WAIT begins, not when it expires.
        contents: map to what it holds from the start and keeps: user space cannot change it either.
        hidden: counter of the kernel to what of it its tracepoints do not show.
    """

    hooks: tuple[Hook, ...]
    absent: tuple[Hook, ...]
    macros: Mapping[str, str]
    cast_function: int
    generated: str
    headers: tuple[str, ...]
    names: KernelNames
    sizes: Sizes
    events: frozenset[str]
    tw_at_birth: bool = True
    contents: Mapping[str, bytes] = field(default_factory=dict)
    hidden: Mapping[str, str] = field(default_factory=dict)
    probes: tuple[PlacedProbe, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)

    @property
    def attach_points(self) -> list[AttachPoint]:
        """Every program and where it goes, in the order to attach them."""
        found = [point for placed in self.probes for point in placed.points]
        for hook in self.hooks:
            found.append(AttachPoint(hook.program, hook.event))
            if hook.interrupted and "HAVE_GUARD" in self.macros:
                found.append(AttachPoint(f"{SECOND}{hook.program}", hook.event))
        return found


def kernel_names(btf: Btf, hz: int) -> KernelNames:
    """Enum names of the kernel that this BTF describes."""
    return KernelNames(
        tcp_states=_named(btf.enum_with("TCP_ESTABLISHED"), "TCP_"),
        reset_reasons=_named(_enum(btf, "sk_rst_reason"), "SK_RST_REASON_"),
        drop_reasons=_named(_enum(btf, "skb_drop_reason"), "SKB_DROP_REASON_", "SKB_"),
        hz=hz,
    )


def _enum(btf: Btf, name: str) -> dict[str, int]:
    try:
        return btf.enum(name)
    except BtfError:
        return {}


def _named(values: Mapping[str, int], *prefixes: str) -> dict[int, str]:
    names: dict[int, str] = {}
    for name, number in values.items():
        if name.endswith(("_MAX", "_MAX_STATES", "_MASK")):
            continue
        short = name
        for prefix in prefixes:
            short = short.removeprefix(prefix)
        names.setdefault(number, short)
    return names


def make_plan(
    btf: Btf,
    hz: int,
    *,
    wanted: KernelFilter | None = None,
    events: frozenset[str] = frozenset(),
    sizes: Sizes | None = None,
    without: frozenset[str] = frozenset(),
    answers: Answers | None = None,
) -> Plan:
    """Choose hooks and write the macros.

    Args:
        btf: of the running kernel.
        hz: jiffies per second.
        wanted: which connections; None for all.
        events: single events wanted, keys of ``EVENTS``.
        sizes: room; None takes the defaults.
        without: capabilities to do without though the kernel has them.
        answers: of the kernel; None plans with what needs none: no function probes, no cmpxchg.

    Raises:
        CannotTrace: the kernel lacks a hook or a field that every record needs.
    """
    sizes = sizes or Sizes()
    answers = answers or Answers()
    present, absent, have = choose(btf, answers, without)
    for hook in absent:
        if hook.needed:
            raise CannotTrace(
                f"this kernel has no tracepoint {hook.system}:{hook.event}",
                "tracetw needs Linux 5.10 or newer with CONFIG_TRACEPOINTS",
            )
    names = kernel_names(btf, hz)
    probes = place(btf, answers.types, have, without | answers.absent, events)
    replaced = {name for placed in probes for name in placed.replaces(events)}
    try:
        direct = casts(btf) if "HAVE_CAST" in have else {}
        values = constants(btf) | direct | layers(btf)
        facts = load_facts(btf, direct=bool(direct))
        if any(placed.type in FAMILIES[AttachType.KPROBE] for placed in probes):
            values |= registers(btf)
        if probes:
            values |= timewait_answers(btf)
    except FieldMissing as missing:
        raise CannotTrace(
            f"this kernel's BTF has no field {missing}", "see tracetw doctor, and report it"
        ) from missing
    macros = {name: str(value) for name, value in values.items()}
    macros |= dict.fromkeys(sorted(have), "1")
    macros |= {
        "HZ": str(hz),
        "WAYS": str(WAYS),
        "CPUS": str(CPUS),
        "CONN_SETS": str(sizes.conn_slots // WAYS),
        "CLOSED_SETS": str(sizes.closed_slots // WAYS),
        "SPARE_SETS": str(sizes.spare_sets),
        "TW_SETS": str(sizes.timewait_slots // WAYS),
        "RINGS": str(sizes.rings),
        "CLOSES_PAGES": str(sizes.closes_pages // sizes.rings),
        "LISTENER_ENDS_PAGES": str(LISTENER_ENDS_PAGES),
        "EVENTS_PAGES": str(sizes.events_pages),
        "TW_OWNERS": str(sizes.timewait_owners),
    }
    if packed := wanted.packed() if wanted else b"":
        macros["FILTERED"] = "1"
    for macro, reason in DROP_MACROS.items():
        macros[macro] = str(names.drop_reason(reason))
    macros |= _calls(probes)
    if events:
        macros["WANT_EVENTS"] = "1"
        macros |= {EVENTS[name]: "1" for name in sorted(events)}
    hooks = [hook for hook in present if hook.program not in replaced]
    hooks.sort(key=lambda hook: hook.program == "state_change")
    return Plan(
        hooks=tuple(hooks),
        absent=absent,
        macros=macros,
        cast_function=direct.get("CAST_FUNCTION", 0),
        generated=facts,
        headers=(*HEADERS, *CALL_HEADERS) if probes else HEADERS,
        names=names,
        sizes=sizes,
        events=events,
        tw_at_birth="TW_COUNTED_AT_BIRTH" in have,
        contents={"filter": packed} if packed else {},
        hidden=_hidden(have, names, probes),
        probes=tuple(probes),
    )


_OF_SYNS = frozenset({"listener_syn", "listener_dropped"})
_BOTH_FULL = "SYNs that met two full queues"
# Counters of what only function probes show.
_OF_LISTENERS = (
    ("TCPReqQFullDrop", _OF_SYNS | {"request_made"}, "SYNs that met a full queue of requests"),
    (
        "SyncookiesSent",
        {"listener_syn", "syn_cookie", "syn_cookie_v6"},
        "SYNs that were answered with a cookie",
    ),
    ("EmbryonicRsts", {"request_reset"}, "connections in SYN_RECV that a segment ended"),
)


def _hidden(
    have: frozenset[str], names: KernelNames, probes: Sequence[PlacedProbe]
) -> dict[str, str]:
    """Counters that cannot add up on this kernel, and why."""
    found = {}
    if "HAVE_RESET_REASON" not in have:
        found["OutRsts"] = "resets without a full socket"
    if names.drop_reason("TCP_RFC7323_TW_PAWS") < 0:
        found["PAWSEstab"] = "PAWS on TIME_WAIT"
    if names.drop_reason("TCP_INVALID_SYN") < 0:
        drops = ("PAWSEstab", "PAWSTimewait", "PAWSActive", "TCPChallengeACK", "TCPSYNChallenge")
        found |= dict.fromkeys(drops, "why it drops a packet")
    there = {placed.probe.program for placed in probes}
    if not there >= _OF_SYNS:
        found["ListenOverflows"] = "SYNs that met a full accept queue"
    elif names.drop_reason("TCP_LISTEN_OVERFLOW") < 0:
        found["ListenOverflows"] = f"ACKs that met a full accept queue, {_BOTH_FULL}"
    else:
        # cookie_v4_check() drops it for another reason (NO_SOCKET).
        found["ListenOverflows"] = f"ACKs of SYN cookies that met one, {_BOTH_FULL}"
    found["TCPReqQFullDrop"] = _BOTH_FULL
    for counter, programs, what in _OF_LISTENERS:
        if not programs <= there:
            found[counter] = what
    found["ListenDrops"] = "what listeners drop for another reason"
    if "HAVE_RX_SK" not in have:
        signatures = ("TCPMD5NotFound", "TCPMD5Unexpected", "TCPMD5Failure")
        found |= dict.fromkeys(signatures, "which socket a dropped packet met")
    return found


def _calls(probes: Sequence[PlacedProbe]) -> dict[str, str]:
    """Macros of the function probes: that they are there, and where arguments and result are found."""
    macros: dict[str, str] = {}
    returning = [placed for placed in probes if placed.type is AttachType.KRETPROBE]
    if returning:
        macros["CALLS"] = str(len(returning))
    for placed in probes:
        name = placed.probe.program
        if placed.type is AttachType.KRETPROBE:
            number = returning.index(placed)
            access = f"call_returned(call, ctx, {number})"
            macros[f"ENTER_{name}"] = str(number)
        elif placed.type is AttachType.KPROBE:
            access = "call_of_registers(call, ctx)"
        else:
            access = f"call_of_trampoline(call, ctx, {placed.parameters})"
        macros[f"HAVE_{name.upper()}"] = "1"
        macros[f"CALL_{name}(call, ctx)"] = access
    return macros


# Numbers of drop reasons differ from kernel to kernel; -1 where there is none matches nothing.
DROP_MACROS = {
    "DROP_REASON_NOT_SPECIFIED": "NOT_SPECIFIED",
    "DROP_REASON_INVALID_SYN": "TCP_INVALID_SYN",
    "DROP_REASON_RESET": "TCP_RESET",
    "DROP_REASON_INVALID_SEQUENCE": "TCP_INVALID_SEQUENCE",
    "DROP_REASON_OLD_SEQUENCE": "TCP_OLD_SEQUENCE",
    "DROP_REASON_PAWS": "TCP_RFC7323_PAWS",
    "DROP_REASON_TW_PAWS": "TCP_RFC7323_TW_PAWS",
    "DROP_REASON_TOO_OLD_ACK": "TCP_TOO_OLD_ACK",
    "DROP_REASON_ACK_UNSENT_DATA": "TCP_ACK_UNSENT_DATA",
    "DROP_REASON_INVALID_ACK": "TCP_INVALID_ACK_SEQUENCE",
    "DROP_REASON_MD5_NOT_FOUND": "TCP_MD5NOTFOUND",
    "DROP_REASON_MD5_UNEXPECTED": "TCP_MD5UNEXPECTED",
    "DROP_REASON_MD5_FAILURE": "TCP_MD5FAILURE",
    "DROP_REASON_AO_NOT_FOUND": "TCP_AONOTFOUND",
    "DROP_REASON_AO_UNEXPECTED": "TCP_AOUNEXPECTED",
    "DROP_REASON_AO_KEY_NOT_FOUND": "TCP_AOKEYNOTFOUND",
    "DROP_REASON_LISTEN_OVERFLOW": "TCP_LISTEN_OVERFLOW",
    "DROP_REASON_AO_FAILURE": "TCP_AOFAILURE",
}
