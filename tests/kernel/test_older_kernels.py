# SPDX-License-Identifier: Apache-2.0
"""Without what an older kernel lacks: the same verdicts, or the weaker one that is documented.

All variants are attached at once and see the same connections, each played once.
"""

from __future__ import annotations

import socket
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.kernel.kit.reader import SMALL
from tracetw.event.record import End
from tracetw.kernel.btf import Btf
from tracetw.kernel.capability import HOOKS, KERNEL_FACTS, Answers, choose
from tracetw.kernel.load.loader import load
from tracetw.kernel.load.probe import has_cmpxchg
from tracetw.kernel.load.session import Session
from tracetw.kernel.plan import make_plan
from tracetw.lab.expect.kernel import shown
from tracetw.lab.net.topology import Link, Net
from tracetw.lab.polling import eventually, patient
from tracetw.live.source import Source
from tracetw.verdict.judge import judge
from tracetw.verdict.taxonomy import FORMS, VERDICTS

pytestmark = pytest.mark.timeout(120)

FIRST_PORT = 7100
TRIES = 10
# A dozen fit beside each other.
FEW_EVENTS = replace(SMALL, events_pages=16)
LINGER_0 = struct.pack("ii", 1, 0)
UNDETERMINED = "undetermined"

# Scenario and side of it: "a" connects.
Place = tuple[str, str]
Found = dict[Place, tuple[str, str | None]]


def fin_4(pair: Net, link: Link, port: int) -> None:
    link.a.close()
    eventually(lambda: pair.a.states(port) == ["FIN_WAIT2"])
    link.b.close()
    eventually(lambda: pair.a.states(port) == ["TIME_WAIT"])


class TooSlow(Exception):
    """The delayed ACK's 40 ms were over before the answer came, and it took four segments."""


def fin_3(pair: Net, link: Link, port: int) -> None:
    before = pair.b.counters()["OutSegs"]
    link.a.close()
    assert link.b.recv(1) == b""
    link.b.close()
    eventually(lambda: pair.a.states(port) == ["TIME_WAIT"])
    if pair.b.counters()["OutSegs"] > before + 1:
        raise TooSlow


def linger_0(pair: Net, link: Link, port: int) -> None:
    link.a.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
    link.a.close()
    eventually(lambda: pair.b.states(port) in ([], ["CLOSE"]))
    link.b.close()


def unread(pair: Net, link: Link, port: int) -> None:
    link.b.sendall(b"x" * 100)
    eventually(lambda: pair.a.unread(port) == 100)
    link.a.close()
    eventually(lambda: pair.b.states(port) in ([], ["CLOSE"]))
    link.b.close()


def fin_4_mapped(pair: Net, link: Link, port: int) -> None:
    """The server's IPv6 socket has an IPv4 peer: it closes first, its timewait socket is IPv6 too."""
    link.b.close()
    eventually(lambda: pair.b.states(port) == ["FIN_WAIT2"])
    link.a.close()
    eventually(lambda: pair.b.states(port) == ["TIME_WAIT"])


def late_data(pair: Net, link: Link, port: int) -> None:
    link.a.close()
    eventually(lambda: pair.a.states(port) == ["FIN_WAIT2"])
    link.b.sendall(b"x")
    eventually(lambda: pair.a.states(port) == [])
    link.b.close()


def fin_wait2_timeout(pair: Net, link: Link, port: int) -> None:
    link.a.setsockopt(socket.IPPROTO_TCP, socket.TCP_LINGER2, 1)
    link.a.close()
    eventually(lambda: pair.a.states(port) == ["FIN_WAIT2"])
    eventually(lambda: pair.a.states(port) == [])
    link.b.close()


SCENARIOS: tuple[Callable[[Net, Link, int], None], ...] = (
    fin_3,
    fin_4,
    fin_4_mapped,
    linger_0,
    unread,
    late_data,
    fin_wait2_timeout,
)
EXPECTED: Found = {
    ("fin_4", "a"): ("orderly", "fin-4"),
    ("fin_4", "b"): ("orderly", "fin-4"),
    ("fin_3", "a"): ("orderly", "fin-3"),
    ("fin_3", "b"): ("orderly", "fin-3"),
    ("fin_4_mapped", "a"): ("orderly", "fin-4"),
    ("fin_4_mapped", "b"): ("orderly", "fin-4"),
    ("linger_0", "a"): ("abort-linger", "rst-sent"),
    ("linger_0", "b"): ("peer-reset", "rst-received"),
    ("unread", "a"): ("abort-unread", "rst-sent"),
    ("unread", "b"): ("peer-reset", "rst-received"),
    ("late_data", "a"): ("abort-late-data", "rst-sent"),
    ("late_data", "b"): ("peer-reset", "rst-received"),
    ("fin_wait2_timeout", "a"): ("fin-wait2-timeout", "timeout"),
    # Our FIN met nobody: the other end had given up.
    ("fin_wait2_timeout", "b"): ("peer-lost-state", "rst-received"),
}
RESETS = {place for place, (_, form) in EXPECTED.items() if form == "rst-received"}
# Variant -> where its verdicts are weaker, and how.
WEAKER: dict[str, dict[Place, str]] = {
    "reset_received": dict.fromkeys(RESETS, UNDETERMINED),
    "reset_sent": {
        ("linger_0", "a"): UNDETERMINED,
        ("unread", "a"): UNDETERMINED,
        ("late_data", "a"): UNDETERMINED,
    },
    "packet_drop packet_drop_skb": {
        ("fin_4", "a"): UNDETERMINED,
        ("fin_4_mapped", "b"): UNDETERMINED,
    },
    "timer_expire": {("fin_wait2_timeout", "a"): UNDETERMINED},
}
# Late data has two witnesses: the reset of the timewait socket, where the kernel announces that (6.10),
# and what became of the timewait socket, where a packet does not say which one it met.
if "packet_drop_skb" in {hook.program for hook in choose(Btf.read(), Answers())[0]}:
    del WEAKER["reset_sent"]["late_data", "a"]
if "reset-reason" not in shown():
    WEAKER["packet_drop packet_drop_skb"]["late_data", "a"] = UNDETERMINED
# Where the table of timewait sockets lies is no choice.
FACTS_TO_LACK = [fact for fact in KERNEL_FACTS if fact.slug != "death-row-pointer"]
# packet_drop needs drop-socket, so both go together; packet_drop_skb is used only without it.
VARIANTS = {
    "nothing": frozenset[str](),
    **{
        hook.program: frozenset({hook.program})
        for hook in HOOKS
        if not hook.needed and "packet_drop" not in hook.program
    },
    "packet_drop": frozenset({"packet_drop", "drop-socket"}),
    "packet_drop packet_drop_skb": frozenset({"packet_drop", "packet_drop_skb"}),
    **{fact.slug: frozenset({fact.slug}) for fact in FACTS_TO_LACK if fact.slug != "drop-socket"},
    "every fact": frozenset({*(fact.slug for fact in FACTS_TO_LACK), "packet_drop"}),
    "everything": frozenset(
        {
            *(fact.slug for fact in FACTS_TO_LACK),
            *(hook.program for hook in HOOKS if not hook.needed),
        }
    ),
}
# Where everything takes longer, and each has to be compiled: what there is, and as little as there can be.
if patient(1) > 1:
    VARIANTS = {name: VARIANTS[name] for name in ("nothing", "every fact", "everything")}
WEAKER["everything"] = {place: how for each in WEAKER.values() for place, how in each.items()}


def play(pair: Net) -> None:
    """Every scenario, on a port of its own."""
    for number, scenario in enumerate(SCENARIOS):
        port = FIRST_PORT + number
        family = 6 if scenario is fin_4_mapped else 4
        listener = pair.keep(pair.b.listen(family, port))
        client = pair.keep(pair.a.tcp_socket())
        client.connect((pair.b.addresses[4], port))
        accepted = pair.keep(listener.accept()[0])
        accepted.settimeout(client.gettimeout())
        scenario(pair, Link(client, accepted, listener), port)


def played(stack: ExitStack) -> Net:
    """Where every scenario was played. Earlier tries stay: their namespaces' numbers are not used again."""
    for _ in range(TRIES):
        pair = stack.enter_context(Net())
        with suppress(TooSlow):
            play(pair)
            return pair
    raise TooSlow


def finished(session: Session, pair: Net) -> NDArray[Any]:
    """Everything that the session has to tell of the two hosts."""
    source = Source(session)
    parts = []
    while session.closes.pending():
        parts.append(source.take().copy())
        source.release()
    parts.append(source.overdue(everything=True))
    waiting = session.timewaits()
    waiting["end"] = End.STALE
    rows = np.concatenate([*parts, waiting])
    return rows[np.isin(rows["netns"], [pair.a.netns, pair.b.netns])]


def verdicts(session: Session, pair: Net) -> tuple[Found, Counter[Place]]:
    """What was found at each place, and how often it was reported."""
    rows = finished(session, pair)
    findings = judge(rows, session.plan.names, lossy=False)
    found: Found = {}
    times: Counter[Place] = Counter()
    for at, row in enumerate(rows):
        client = row["netns"] == pair.a.netns
        port = int(row["rport" if client else "lport"])
        if not 0 <= port - FIRST_PORT < len(SCENARIOS):
            continue  # of an earlier test: inodes of namespaces are used again
        place = (SCENARIOS[port - FIRST_PORT].__name__, "a" if client else "b")
        form = int(findings.form[at])
        found[place] = (
            VERDICTS[findings.verdict[at]].code,
            FORMS[form] if form < len(FORMS) else None,
        )
        times[place] += 1
    return found, times


@pytest.fixture(scope="module")
def reports() -> Iterator[dict[str, tuple[Found, Counter[Place]]]]:
    btf = Btf.read()
    hz = round(1 / time.clock_getres(6))
    answers = Answers(cmpxchg=has_cmpxchg())
    with ExitStack() as stack:
        sessions: dict[str, Session] = {}
        for name, without in VARIANTS.items():
            plan = make_plan(btf, hz, sizes=FEW_EVENTS, without=without, answers=answers)
            sessions[name] = stack.enter_context(load(plan))
        pair = played(stack)
        yield {name: verdicts(session, pair) for name, session in sessions.items()}


@pytest.mark.parametrize("variant", VARIANTS)
def test_same_verdicts_or_the_documented_weaker_ones(
    reports: dict[str, tuple[Found, Counter[Place]]], variant: str
) -> None:
    found, times = reports[variant]
    weaker = WEAKER.get(variant, {})
    expected = {place: weaker.get(place, verdict) for place, (verdict, _) in EXPECTED.items()}
    assert {place: verdict for place, (verdict, _) in found.items()} == expected
    assert set(times.values()) == {1}


@pytest.mark.parametrize("variant", VARIANTS)
def test_same_form_where_the_verdict_is_the_same(
    reports: dict[str, tuple[Found, Counter[Place]]], variant: str
) -> None:
    found, _ = reports[variant]
    for place, (verdict, form) in EXPECTED.items():
        if found.get(place, ("", None))[0] == verdict:
            assert found[place][1] == form, place
