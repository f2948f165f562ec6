# SPDX-License-Identifier: Apache-2.0
"""TIME_WAIT as single events: who carries it, and what became of it."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from tests.kernel.kit.expect import SOME, at_least, differences
from tests.kernel.kit.faults import held
from tests.kernel.kit.host import PORT, Host
from tests.kernel.kit.lines import client
from tests.kernel.kit.polling import eventually
from tests.kernel.kit.processes import Actor
from tests.kernel.kit.stage import Stage
from tests.kernel.kit.topology import Pair
from tests.kernel.kit.tracer import Line

TRACE = ("--events", "timewait")

CARRIER: dict[str, Any] = {"v": at_least(1), "kind": "timewait", "time": SOME, "host": SOME}


def event_of(stage: Stage, host: Host, event: str) -> Line:
    """The only event of a kind on a host."""

    def wanted(line: Line) -> bool:
        return (line["kind"], line.get("event"), line["netns"]) == ("timewait", event, host.netns)

    return stage.tracer.wait_for(wanted)


def open_and_close(pair: Pair, family: int = 4) -> tuple[Actor, socket.socket, int]:
    """A process on A has connected to us on B and closed first; its local port."""
    listener = pair.keep(pair.b.listen(family))
    process = pair.actor(pair.a, "carrier")
    process.connect(pair.b.addresses[family], family)
    end, peer = listener.accept()
    process.do("close")
    return process, pair.keep(end), peer[1]


@pytest.mark.parametrize("family", [4, 6])
def test_entered_names_the_carrier(stage: Stage, family: int) -> None:
    pair = stage.pair()
    process, end, port = open_and_close(pair, family)
    eventually(lambda: pair.a.states() == ["FIN_WAIT2"])
    end.close()
    eventually(lambda: pair.a.states() == ["TIME_WAIT"])
    assert pair.a.counters()["TW"] == 1
    expected = {
        **CARRIER,
        **process.owner(),
        "local": {"addr": pair.a.addresses[family], "port": port},
        "remote": {"addr": pair.b.addresses[family], "port": PORT},
    }
    assert differences(expected, event_of(stage, pair.a, "entered")) == []
    stage.tracer.close_of(pair.b.netns)
    assert stage.tracer.select(kind="timewait", netns=pair.b.netns) == []


def test_fin_wait2_mini_socket_is_not_time_wait(stage: Stage) -> None:
    pair = stage.pair()
    pair.a.sysctl(tcp_fin_timeout=1)
    process, _, _ = open_and_close(pair)
    eventually(lambda: pair.a.states() == ["FIN_WAIT2"])
    expected = {**CARRIER, **process.owner()}
    assert differences(expected, event_of(stage, pair.a, "fin-wait2")) == []
    eventually(lambda: pair.a.states() == [])
    line = stage.tracer.close_of(pair.a.netns)
    assert line["verdict"] == "fin-wait2-timeout"
    assert stage.tracer.select(kind="timewait", event="entered", netns=pair.a.netns) == []


def test_overflow_skips_it(stage: Stage) -> None:
    pair = stage.pair()
    pair.a.sysctl(tcp_max_tw_buckets=0)
    process, _, _ = open_and_close(pair)
    eventually(lambda: pair.a.states() == [])
    assert pair.a.counters()["TCPTimeWaitOverflow"] == 1
    expected = {**CARRIER, **process.owner()}
    assert differences(expected, event_of(stage, pair.a, "overflow")) == []
    wrong = differences(client(time_wait="skipped"), stage.tracer.close_of(pair.a.netns))
    assert wrong == []


def test_entered_at_both_ends_of_a_simultaneous_close(stage: Stage) -> None:
    pair = stage.pair()
    link = pair.connect()
    with held(pair.a, pair.b), held(pair.b, pair.a):
        link.a.close()
        link.b.close()
    eventually(lambda: pair.a.states() == pair.b.states() == ["TIME_WAIT"])
    for host in (pair.a, pair.b):
        assert differences(CARRIER, event_of(stage, host, "entered")) == []
