# SPDX-License-Identifier: Apache-2.0
"""A server that held no connection: its listener says how it ended, and nothing is guessed."""

from __future__ import annotations

import signal
from typing import Any

import numpy as np
import pytest

from tests.unit.report_rows import NETNS, SECOND, WALL, Memory, connections, traffic
from tracetw.host.clock import Clock
from tracetw.recording.facts import ListenerEnd, Sample
from tracetw.report.build import build
from tracetw.report.model import Incident

DIED = 600.0
END = ListenerEnd(
    WALL + int(DIED * SECOND), NETNS, "::", 9101, 7266, "api", 9, cgroup="/system.slice/api.service"
)


def recorded(
    *ended: ListenerEnd, since: float = 1.0, local: str = "10.0.0.1", **more: Any
) -> Memory:
    """A client of this host whose connects are refused for three seconds, so long after the death."""
    times = DIED + since + np.arange(0, 3, 0.1)
    refused = connections("connect-refused", times, local=local, remote=local, rport=9101)
    sample = Sample("running", WALL, Clock(WALL, 0), {}, {}, {}, {}, 0, ended=ended)
    return Memory(refused, *traffic(), samples=[sample], **more)


def told(*recordings: Memory) -> Incident:
    (one,) = [
        each
        for each in build(recordings, utc=True).incidents
        if each.service is not None and each.service.port == 9101
    ]
    return one


@pytest.mark.parametrize("since", [0.0, 1.0, 25.0, 900.0])
def test_a_kill_is_told_as_one(since: float) -> None:
    one = told(recorded(END, since=since))
    assert (one.kind, one.total, one.deaths) == ("kill", 30, 1)
    assert one.began_ns == END.time_ns
    assert one.actor is not None
    assert (one.actor.pid, one.actor.comm, one.actor.signal) == (7266, "api", "SIGKILL")
    assert one.actor.unit == "api.service"
    assert "api (pid 7266) was killed by SIGKILL" in one.sentence
    assert one.missing == ()


@pytest.mark.parametrize(
    ("code", "oom", "kind"),
    [
        (int(signal.SIGSEGV) | 128, False, "kill"),
        (9, True, "oom"),
        (int(signal.SIGTERM), False, "service-down"),
        (0x300, False, "service-down"),
        (0, False, "service-down"),
    ],
)
def test_how_it_ended_decides(code: int, oom: bool, kind: str) -> None:  # noqa: FBT001 (a row)
    one = told(recorded(END._replace(exit_code=code, oom=oom)))
    assert one.kind == kind
    assert one.actor is not None
    assert one.actor.pid == 7266
    assert one.actor.oom is oom


@pytest.mark.parametrize(
    "other",
    [
        END._replace(port=9102),
        END._replace(address="10.0.0.9"),
        END._replace(address="no address"),
        END._replace(time_ns=END.time_ns + 60 * SECOND),
    ],
)
def test_another_listener_says_nothing(other: ListenerEnd) -> None:
    one = told(recorded(other))
    assert (one.kind, one.actor, one.deaths) == ("service-down", None, 0)
    assert one.missing


def test_the_loopback_address_of_another_namespace_is_another() -> None:
    mine = recorded(END._replace(address="127.0.0.1"), local="127.0.0.1")
    assert told(mine).kind == "kill"
    other = recorded(END._replace(address="127.0.0.1", netns=1), local="127.0.0.1")
    assert told(other).kind == "service-down"


def test_two_that_died_at_once_are_not_told_apart() -> None:
    """On two hosts, each listening on every address, where only the port says which."""
    late = 900.0
    one = told(recorded(END, END._replace(pid=8), since=late))
    assert (one.kind, one.actor) == ("service-down", None)


def test_who_served_it_since_is_not_dead() -> None:
    """Near miss: another process served the port after the death and before the refusals."""
    served = connections(
        "orderly-active", [DIED + 400.0], lport=9101, rport=0, server=True, local="10.0.0.1", pid=99
    )
    memory = recorded(END, since=900.0)
    both = Memory(served, memory._all, samples=memory._samples)
    assert told(both).kind == "service-down"


def refusing(*ports: int, since: float = 1.0, apart: float = 0.0) -> list[Any]:
    """Attempts at these ports of this host, the first ones so long after the death."""
    return [
        connections(
            "connect-refused",
            DIED + since + apart * number + np.arange(0, 3, 0.1),
            local="10.0.0.1",
            remote="10.0.0.1",
            rport=port,
        )
        for number, port in enumerate(ports)
    ]


def incidents(*ended: ListenerEnd, **more: float) -> list[Incident]:
    sample = Sample("running", WALL, Clock(WALL, 0), {}, {}, {}, {}, 0, ended=ended)
    rows = np.concatenate(refusing(9101, 9102, **more))
    return list(build([Memory(rows, *traffic(), samples=[sample])], utc=True).incidents)


@pytest.mark.parametrize(
    ("code", "other", "apart", "count"),
    [
        (9, {}, 0.0, 1),
        (9, {}, 20.0, 1),
        # Of both it is known when the process died.
        (9, {}, 40.0, 1),
        (9, {"pid": 8}, 0.0, 2),
        (0x300, {}, 0.0, 1),
        (0x300, {}, 40.0, 2),
        (0x300, {"pid": 8}, 0.0, 2),
    ],
)
def test_ports_of_one_process_are_one_incident(
    code: int, other: dict[str, Any], apart: float, count: int
) -> None:
    one = END._replace(exit_code=code)
    found = incidents(one, one._replace(port=9102, **other), apart=apart)
    assert len(found) == count
    assert sum(each.total for each in found) == 60
    assert len({each.kind for each in found}) == 1
    assert all((each.service is None) is (count == 1) for each in found)
    if code == 0x300 and count == 1:
        assert "10.0.0.1:9101 and 10.0.0.1:9102 refused connections" in found[0].title


def dying(*deaths: tuple[float, int], code: int = int(signal.SIGSEGV), **other: Any) -> list[Any]:
    """Incidents of a server that died so long after the first death, as these pids; each time it refused for 3 s."""
    ended = [
        END._replace(time_ns=END.time_ns + int(after * SECOND), pid=pid, exit_code=code, **other)
        for after, pid in deaths
    ]
    times = [DIED + after + np.arange(0.1, 3, 0.1) for after, _ in deaths]
    refused = connections(
        "connect-refused", np.concatenate(times), local="10.0.0.1", remote="10.0.0.1", rport=9101
    )
    sample = Sample("running", WALL, Clock(WALL, 0), {}, {}, {}, {}, 0, ended=tuple(ended))
    memory = Memory(refused, *traffic(), samples=[sample])
    return [one for one in build([memory], utc=True).incidents if one.actor is not None]


def test_a_server_that_dies_again_and_again_is_one_incident() -> None:
    (one,) = dying((0, 1), (20, 2), (40, 3))
    assert (one.kind, one.deaths, one.total) == ("crash-loop", 3, 87)
    assert one.began_ns == END.time_ns
    assert "api (pid 1) died 3 times" in one.sentence
    assert "SIGSEGV" in one.evidence[0]
    (also,) = dying((0, 1), (20, 2), (40, 3), code=9, oom=True)
    assert also.kind == "crash-loop"


@pytest.mark.parametrize(
    ("deaths", "code"),
    [
        (((0, 1), (20, 2)), int(signal.SIGSEGV)),
        (((0, 1), (70, 2), (140, 3)), int(signal.SIGSEGV)),
        (((0, 1), (20, 2), (40, 3)), int(signal.SIGKILL)),
        # One process with three listeners.
        (((0, 1), (0, 1), (0, 1)), int(signal.SIGSEGV)),
    ],
)
def test_what_is_no_loop(deaths: tuple[tuple[float, int], ...], code: int) -> None:
    assert {one.kind for one in dying(*deaths, code=code)} == {"kill"}
