# SPDX-License-Identifier: Apache-2.0
"""Connections that both sides closed by FIN: in every order that TCP has for it, v4 and v6."""

from __future__ import annotations

import socket
from typing import Any

from tests.kernel.kit.expect import accepted, between
from tests.kernel.kit.faults import held
from tests.kernel.kit.host import PORT, Host
from tests.kernel.kit.lines import QUIET, client, connected, server
from tests.kernel.kit.polling import eventually
from tests.kernel.kit.stage import Facts, Registry, Scenario, Stage
from tests.kernel.kit.topology import Link, Pair

SCENARIOS = Registry()

ORDERLY: dict[str, Any] = {
    **QUIET,
    "verdict": "orderly",
    "closed_by": "app",
    "exit": None,
    "owner_from": "close",
    "confidence": "proven",
    "reset": None,
    "error": None,
    "teardown_ms": between(0, 10_000),
}
PASSIVE = ("CLOSE_WAIT", "LAST_ACK", "CLOSE")
ACTIVE = ("FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT")
SIMULTANEOUS = ("FIN_WAIT1", "CLOSING", "TIME_WAIT")


def first(form: str, **more: Any) -> dict[str, Any]:
    """The end whose FIN came first."""
    return {**ORDERLY, "form": form, "first_close": "local", "time_wait": "local", **more}


def second(form: str, **more: Any) -> dict[str, Any]:
    """The end that answered a FIN."""
    end = {"first_close": "remote", "closed_by": "peer", "time_wait": "remote"}
    return {**ORDERLY, "form": form, **end, **more}


def both(**more: Any) -> dict[str, Any]:
    """Either end where the two FINs crossed."""
    form = {"form": "fin-simultaneous", "first_close": "both", "time_wait": "local"}
    return {**ORDERLY, **form, **more}


def close_in_turn(first_host: Host, first_end: socket.socket, second_end: socket.socket) -> None:
    """The second FIN leaves only after the first was acknowledged alone."""
    first_end.close()
    eventually(lambda: first_host.states() == ["FIN_WAIT2"])
    second_end.close()
    eventually(lambda: first_host.states() == ["TIME_WAIT"])


def talk(link: Link) -> None:
    """Five bytes from A to B, three back."""
    link.a.sendall(b"hello")
    assert link.b.recv(100) == b"hello"
    link.b.sendall(b"yes")
    assert link.a.recv(100) == b"yes"


@SCENARIOS.add(
    a=client(**first("fin-4", states=connected(*ACTIVE), bytes_sent=5, bytes_received=3)),
    b=server(**second("fin-4", states=accepted(*PASSIVE), bytes_sent=3, bytes_received=5)),
    counted_a={"TW": 1, "OutRsts": 0, "EstabResets": 0},
    counted_b={"TW": 0, "OutRsts": 0, "EstabResets": 0},
)
def fin_4_client_first(pair: Pair) -> None:
    link = pair.connect()
    talk(link)
    close_in_turn(pair.a, link.a, link.b)


@SCENARIOS.add(
    a=client(**second("fin-4", states=connected(*PASSIVE), bytes_sent=5, bytes_received=3)),
    b=server(**first("fin-4", states=accepted(*ACTIVE), bytes_sent=3, bytes_received=5)),
    counted_a={"TW": 0, "OutRsts": 0},
    counted_b={"TW": 1, "OutRsts": 0},
)
def fin_4_server_first(pair: Pair) -> None:
    link = pair.connect()
    talk(link)
    close_in_turn(pair.b, link.b, link.a)


@SCENARIOS.add(
    a=client(6, **first("fin-4", states=connected(*ACTIVE), bytes_sent=5, bytes_received=3)),
    b=server(6, **second("fin-4", states=accepted(*PASSIVE), bytes_sent=3, bytes_received=5)),
    counted_a={"TW": 1, "OutRsts": 0},
)
def fin_4_client_first_v6(pair: Pair) -> None:
    link = pair.connect(6)
    talk(link)
    close_in_turn(pair.a, link.a, link.b)


@SCENARIOS.add(
    a=client(6, **second("fin-4", states=connected(*PASSIVE), bytes_sent=5, bytes_received=3)),
    b=server(6, **first("fin-4", states=accepted(*ACTIVE), bytes_sent=3, bytes_received=5)),
    counted_b={"TW": 1, "OutRsts": 0},
)
def fin_4_server_first_v6(pair: Pair) -> None:
    link = pair.connect(6)
    talk(link)
    close_in_turn(pair.b, link.b, link.a)


@SCENARIOS.add(
    a=client(**first("fin-4", states=connected(*ACTIVE))),
    b=server(**second("fin-4", states=accepted(*PASSIVE))),
    counted_a={"TW": 1},
)
def v4_mapped_server(pair: Pair) -> None:
    """A v6 listener that takes v4 too: shown as v4."""
    listener = pair.keep(pair.b.listen(6))
    client_end = pair.keep(pair.a.tcp_socket())
    client_end.connect((pair.b.addresses[4], PORT))
    accepted_end = pair.keep(listener.accept()[0])
    close_in_turn(pair.a, client_end, accepted_end)


def answer_fin_at_once(pair: Pair, family: int) -> Facts:
    """B's process sleeps in recv() and closes when it wakes: its FIN carries the ACK that is due."""
    process = pair.actor(pair.b, "fin3-server")
    process.listen(family)
    client_end = pair.keep(pair.a.tcp_socket(family))
    client_end.connect((pair.b.addresses[family], PORT))
    process.do("accept")
    process.order("close_at_end")
    client_end.sendall(b"hello")
    eventually(lambda: pair.b.unread() == 0 and pair.b.counters()["OutSegs"] == HELLO_ACKED)
    client_end.close()
    process.answer()
    eventually(lambda: pair.a.states() == ["TIME_WAIT"])
    return {"b": process.owner()}


# B's segments are SYN+ACK, the ACK of the data and FIN+ACK: another would be an ACK of its own.
HELLO_ACKED = 2
FIN_3_COUNTED = {"TW": 0, "OutSegs": HELLO_ACKED + 1}


@SCENARIOS.add(
    a=client(**first("fin-3", states=connected(*ACTIVE), bytes_sent=5)),
    b=server(**second("fin-3", states=accepted(*PASSIVE), bytes_received=5)),
    counted_a={"TW": 1},
    counted_b=FIN_3_COUNTED,
)
def fin_3(pair: Pair) -> Facts:
    return answer_fin_at_once(pair, 4)


@SCENARIOS.add(
    a=client(6, **first("fin-3", states=connected(*ACTIVE), bytes_sent=5)),
    b=server(6, **second("fin-3", states=accepted(*PASSIVE), bytes_received=5)),
    counted_a={"TW": 1},
    counted_b=FIN_3_COUNTED,
)
def fin_3_v6(pair: Pair) -> Facts:
    return answer_fin_at_once(pair, 6)


@SCENARIOS.add(
    a=client(**both(states=connected(*SIMULTANEOUS))),
    b=server(**both(states=accepted(*SIMULTANEOUS))),
    counted_a={"TW": 1, "OutRsts": 0},
    counted_b={"TW": 1, "OutRsts": 0},
)
def fin_simultaneous(pair: Pair) -> None:
    """Both FINs wait for a link address, so that each leaves before the other's arrives."""
    link = pair.connect()
    with held(pair.a, pair.b), held(pair.b, pair.a):
        link.a.close()
        link.b.close()
        assert pair.a.states() == pair.b.states() == ["FIN_WAIT1"]
    eventually(lambda: pair.a.states() == pair.b.states() == ["TIME_WAIT"])


@SCENARIOS.add(
    a=client(**first("fin-4", states=connected(*ACTIVE), bytes_sent=5, bytes_received=3)),
    b=server(**second("fin-4", states=accepted(*PASSIVE), bytes_sent=3, bytes_received=5)),
    counted_a={"TW": 1, "OutRsts": 0, "TCPAbortOnData": 0},
)
def half_close(pair: Pair) -> None:
    """A shuts its direction down and still receives: that data is not late."""
    link = pair.connect()
    link.a.sendall(b"hello")
    link.a.shutdown(socket.SHUT_WR)
    assert link.b.recv(100) == b"hello"
    assert link.b.recv(100) == b""
    eventually(lambda: pair.a.states() == ["FIN_WAIT2"])
    link.b.sendall(b"yes")
    assert link.a.recv(100) == b"yes"
    link.b.close()
    assert link.a.recv(100) == b""
    link.a.close()
    eventually(lambda: pair.a.states() == ["TIME_WAIT"])


def test_both_ends(scenario: Scenario, stage: Stage) -> None:
    """Every form of an orderly close is told from the others at both ends."""
    stage.check(scenario)
