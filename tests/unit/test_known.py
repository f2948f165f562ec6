# SPDX-License-Identifier: Apache-2.0
"""Names of addresses and listeners in every output, the same live and from a recording."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.recording_files import golden
from tests.unit.report_rows import NETNS, connections
from tests.unit.sink_rows import closes
from tests.unit.test_recording_recorder import Recorded
from tracetw.host import resolver as resolving
from tracetw.host.bound import Holders
from tracetw.host.resolver import Resolver
from tracetw.recorder.sink import RecorderSink
from tracetw.recorder.trigger import Triggers
from tracetw.recording.reader import open_recordings
from tracetw.replay.pace import Pace
from tracetw.replay.replay import replay
from tracetw.replay.source import context_of
from tracetw.sink.json import JsonSink
from tracetw.sink.table import TableSink
from tracetw.stream.batch import Ends
from tracetw.stream.filter import Filter
from tracetw.stream.known import MOST_LISTENERS, Known, PortListener, port_key
from tracetw.stream.stages import Stages

HOUR = 3_600_000_000_000
API = "/system.slice/api.service"
HOSTS = {"10.0.0.2": "db\x1b[2J", "0.0.0.0": "blocked"}  # noqa: S104 (an address in a table)


def lines(known: Known, *rows: dict[str, Any]) -> list[dict[str, Any]]:
    out = BytesIO()
    context = replace(context_of(golden()), known=known)
    batch = closes(*rows)
    known.look(batch.rows)
    JsonSink(out, context).closes(batch)
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_names_stand_beside_addresses() -> None:
    plain, other, nowhere = lines(Known(HOSTS), {}, {"remote": "10.9.9.9"}, {"flags": 0})
    assert plain["local"]["name"] is None
    assert plain["remote"] == {"addr": "10.0.0.2", "port": 51234, "name": "db\x1b[2J"}
    assert other["remote"]["name"] is None
    assert nowhere["remote"] == {"addr": None, "port": None, "name": None}


def test_an_unknown_address_has_no_name() -> None:
    (line,) = lines(Known(HOSTS), {"flags": 0, "local": "0.0.0.0", "remote": "0.0.0.0"})  # noqa: S104
    assert line["local"] == line["remote"] == {"addr": None, "port": None, "name": None}


def test_who_listens_is_looked_for_once_for_each_port() -> None:
    asked: list[set[int]] = []

    def find(keys: Collection[int], known: Mapping[int, PortListener]) -> list[PortListener]:
        asked.append({*keys} - known.keys())
        return [PortListener(NETNS, 443, "api", API), PortListener(NETNS, 80, None)]

    known = Known(find=find)
    from tracetw.event.record import F_ADDR, F_SERVER  # noqa: PLC0415

    server = {"flags": F_ADDR | F_SERVER, "netns": NETNS}
    served, again, mixed, client = lines(
        known, server, server, server | {"lport": 80}, {"netns": NETNS}
    )
    assert served["listener"] == {"comm": "api", "unit": "api.service", "container": None}
    assert again["listener"] == served["listener"]
    assert mixed["listener"] is None, "processes of different names listen"
    assert client["listener"] is None, "the server is elsewhere"
    assert asked == [{port_key(NETNS, 443), port_key(NETNS, 80)}]


def test_listeners_are_bounded() -> None:
    known = Known()
    known.tell(PortListener(number, 80, "x") for number in range(MOST_LISTENERS + 1))
    assert len(known.listeners) <= MOST_LISTENERS


def test_the_table_shows_it_where_there_is_room() -> None:
    known = Known(HOSTS)
    known.tell([PortListener(4026531840, 443, "a\x1bpi", API)])
    context = replace(context_of(golden()), known=known, cgroup_path=lambda _: API)
    out = BytesIO()
    TableSink(out, context, wide=True, color=False, utc=True).closes(
        closes({"flags": 0x10 | closes({}).rows["flags"][0], "local": "10.0.0.2"})
    )
    text = out.getvalue().decode()
    assert r" remote=db\x1b[2J " in text
    assert "unit=api.service" in text
    assert "\x1b" not in text


def test_a_recording_says_who_listened_as_the_trace_did(tmp_path: Path) -> None:
    """Each batch another process has the port; between two of them a new segment begins."""
    recorded = Recorded(tmp_path)
    named = iter(("one", "two", "two", None, "three"))

    def find(keys: Collection[int], _: Mapping[int, PortListener]) -> list[PortListener]:
        name = next(named)
        return [PortListener(key >> 16, key & 0xFFFF, name, API) for key in keys]

    context = replace(context_of(golden()), known=Known(HOSTS, find))
    out, clock = BytesIO(), recorded.recorder._clock
    recorder = RecorderSink(
        recorded.recorder, Triggers([], 1.0), context, lambda _: None, Holders()
    )
    sinks = (JsonSink(out, context), recorder)

    class Both:
        def __getattr__(self, name: str) -> Any:
            return lambda batch: [getattr(sink, name)(batch) for sink in sinks]

    stages = Stages(context, Filter(), Both())
    rows = connections("peer-reset", np.arange(1.0, 11.0), lport=443, rport=0, server=True)
    for number in range(5):
        if number in (2, 4):
            clock = replace(clock, offset_ns=clock.offset_ns + HOUR)
        stages.feed(Ends(rows[2 * number : 2 * number + 2], clock))
    recorded.finish()
    (recording,) = open_recordings([tmp_path])
    recording.header = replace(
        recording.header, host=context.host, host_names=HOSTS, names=context.names
    )
    replayed = BytesIO()
    replay(recording, Filter(), frozenset(), lambda one: JsonSink(replayed, one), Pace(None))
    told = [json.loads(line) for line in replayed.getvalue().splitlines()[:-1]]
    live = [json.loads(line) for line in out.getvalue().splitlines()]
    assert len(recording.segments) == 3
    comms = [one["listener"] and one["listener"]["comm"] for one in live]
    assert comms == ["one"] * 2 + ["two"] * 4 + [None] * 2 + ["three"] * 2
    assert [one["listener"] for one in told] == [one["listener"] for one in live]
    assert [one["remote"] for one in told] == [one["remote"] for one in live]


def test_the_resolver_does_not_wait_for_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RES_OPTIONS", raising=False)
    answer = threading.Event()

    def slow(address: str) -> str | None:
        answer.wait(30)
        return None if address.endswith(".9") else f"n-{address}\udc80\x1b[2J"

    resolver = Resolver(lookup=slow)
    wanted = {"10.0.0.1", "10.0.0.9", "127.0.0.1", "::", "fe80::1", "no address"}
    begun = time.monotonic()
    assert resolver(wanted) == {}
    assert time.monotonic() - begun < 1
    assert resolver.asked == 2, "neither loopback nor link-local"
    assert resolver.told() == "--resolve: 2 of 2 addresses had no answer in time"
    answer.set()
    patient = Resolver(5.0, slow)
    assert patient(wanted) == {"10.0.0.1": "n-10.0.0.1\\x80\x1b[2J"}
    assert patient(wanted) == patient(wanted)
    assert patient.asked == 2
    assert patient.told() is None


def test_the_resolver_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RES_OPTIONS", raising=False)
    monkeypatch.setattr(resolving, "MOST", 3)
    resolver = Resolver(5.0, lambda _: "x" * 900)
    found = resolver([f"10.0.0.{number}" for number in range(5)])
    assert {*map(len, found.values())} == {255}
    assert (len(found), resolver.asked, resolver.passed) == (3, 3, 2)
    assert resolver.told() == "--resolve: 2 addresses were not asked for: 3 are the most"
    still = Resolver(0.2, lambda _: time.sleep(20))
    begun = time.monotonic()
    for _ in range(5):
        assert still(["10.0.0.1"]) == {}
    assert time.monotonic() - begun < 5
