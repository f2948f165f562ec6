# SPDX-License-Identifier: Apache-2.0
"""What a report finds out, from facts of whole incidents."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.unit.report_rows import SECOND, WALL, Memory, connections, outage, traffic
from tracetw.event import record as r
from tracetw.recording.facts import Lost
from tracetw.replay.window import Window
from tracetw.report.build import build
from tracetw.report.model import Report
from tracetw.report.render.text import report_text
from tracetw.stream.filter import Filter


@pytest.fixture(scope="module")
def report() -> Report:
    return build([Memory(*traffic(), *outage())], utc=True)


def sentences(*parts: Any, **more: Any) -> list[str]:
    made = build([Memory(*traffic(), *parts, **more)], utc=True)
    return [cause.sentence for cause in made.causes]


def test_a_peer_that_fell_silent_is_one_cause_whatever_timer_found_out(report: Report) -> None:
    cause = report.causes[0]
    assert cause.sentence == (
        "10.1.2.3:5432 stopped answering at 12:16:40: 412 connections retransmit-exhausted,"
        " 38 keepalive-expired (12:18:00 to 12:33:04 (15m04s)), first seen by worker (pid 990) at"
        " 12:18:00; none in the 16m40s before"
    )
    assert (cause.kind, cause.total) == ("silent", 450)
    assert cause.silent_since_ns == pytest.approx(WALL + 1000 * SECOND, abs=10**9)
    assert cause.processes == {"nginx (pid 812)": 412, "worker (pid 990)": 38}
    assert cause.ports == {"5432": 450}
    assert len(cause.containers) == 2


def test_aborts_belong_to_the_process(report: Report) -> None:
    cause = next(one for one in report.causes if one.kind == "abort")
    assert cause.who == "php-fpm (pid 4242)"
    assert cause.began_ns == WALL + 2000 * SECOND


def test_what_went_on_all_along_is_no_incident(report: Report) -> None:
    steady = next(one for one in report.causes if one.kind == "reset")
    assert steady.began_ns is None
    assert "all along: 180 connections peer-reset" in steady.sentence
    quiet = build([Memory(*traffic())], utc=True)
    assert quiet.incident is None
    assert "no incident" in report_text(quiet, utc=True)


def test_the_incident_begins_with_its_first_cause(report: Report) -> None:
    found = report.incident
    assert found is not None
    assert found.begin_ns == report.causes[0].silent_since_ns
    rows = {row.verdict: row for row in report.verdicts}
    assert rows["keepalive-expired"].before_per_minute == 0
    assert rows["orderly"].during_per_minute == pytest.approx(300, rel=0.1)


def test_peers_that_fall_together_are_one_cause() -> None:
    lost = [
        connections(
            "keepalive-expired", 1500 + np.arange(20) * 0.2, remote=f"10.9.0.{host}", rport=80
        )
        for host in range(1, 9)
    ]
    first = sentences(*lost)[0]
    assert first.startswith("8 peers in 10.9.0.0/28 stopped answering at ")
    assert "160 connections keepalive-expired" in first


@pytest.mark.parametrize(
    ("shape", "beginning"),
    [
        ("connect-refused", "10.1.2.9:8080 refused connections at 12:25:00: 40 connections"),
        ("peer-lost-state", "10.1.2.9 no longer knew its connections at 12:25:00"),
        ("peer-reset", "10.1.2.9 reset connections at 12:25:00"),
    ],
)
def test_kinds(shape: str, beginning: str) -> None:
    rows = connections(shape, 1500 + np.arange(40) * 0.5, remote="10.1.2.9", rport=8080)
    assert sentences(rows)[0].startswith(beginning)


def test_a_crash_is_a_cause_of_its_own() -> None:
    rows = connections(
        "orderly-active", np.full(30, 1500.0), comm=b"java", pid=77, exit_code=11, remote="10.2.2.2"
    )
    rows["flags"] |= r.F_EXITING
    assert sentences(rows)[0].startswith("java (pid 77) died with connections open at 12:25:00")


def test_filters_and_times_choose() -> None:
    recording = Memory(*traffic(), *outage())
    only = build([recording], Filter.parse(verdict=["abort-unread"]), utc=True)
    assert (only.closes, only.abnormal, len(only.causes)) == (60, 60, 1)
    window = Window(WALL, WALL + 900 * SECOND)
    early = build([recording], window=window, utc=True)
    assert early.incident is None
    assert early.end_ns == window.until_ns
    assert early.hosts[0].not_reconciled == "only a stretch of time was read"


def test_losses_weaken_and_are_named() -> None:
    lost = Lost(12, "ring buffer of closes", WALL + 1990 * SECOND, WALL + 2100 * SECOND)
    made = build([Memory(*traffic(), *outage(), losses=[lost])], utc=True)
    assert made.hosts[0].losses == (
        "12 records lost, 12:33:10 to 12:35:00 (1m50s): ring buffer of closes",
    )
    weak = [one for one in made.stories if one.close["confidence"] == "weakened"]
    assert {one.close["verdict"] for one in weak} == {"abort-unread"}


def test_ports_and_buckets_are_measured_against_their_limits() -> None:
    rows = connections("orderly-active", np.linspace(1000, 1050, 26000), remote="10.1.2.3")
    made = build([Memory(*traffic(), rows)], utc=True)
    serious = [one for one in made.time_wait if one.serious]
    assert "of 28,232 local ports towards 10.1.2.3:443 were in TIME_WAIT" in serious[0].sentence
    assert 26000 <= serious[0].held < 26300
    assert serious[0].sentence.startswith("web-1: ")


def test_local_ports_are_those_of_a_namespace() -> None:
    web = Memory().header.netns + 1
    rows = connections("orderly-active", np.linspace(1000, 1050, 2600), netns=web)
    made = build([Memory(*traffic(), rows, netns_names={web: "web"})], utc=True)
    assert made.time_wait[0].sentence.startswith("web-1, network namespace web: 2,6")


def test_settings_are_judged_as_recorded() -> None:
    header = Memory().header
    sysctls = {header.netns: {**header.sysctls[header.netns], "net.ipv4.tcp_retries2": 3}}
    made = build([Memory(*traffic(), sysctls=sysctls)], utc=True)
    assert [(one.name, one.value) for one in made.settings] == [("net.ipv4.tcp_retries2", "3")]
    assert made.settings[0].namespaces == (str(header.netns),)


def test_settings_of_a_namespace_without_connections_are_not_told() -> None:
    """A recording has those of all namespaces of its host; other people's labs are none of ours."""
    header = Memory().header
    good = header.sysctls[header.netns]
    bad = {**good, "net.ipv4.tcp_retries2": 3}
    web, db, lab = header.netns, header.netns + 1, header.netns + 2
    names = {web: "web", db: "db", lab: "lab-1-a"}
    here = traffic()
    there = connections("orderly-active", [11.0], netns=db)
    told = {}
    for wrong in ({lab: bad}, {web: bad, lab: bad}, {web: bad, db: bad}):
        sysctls = {netns: wrong.get(netns, good) for netns in names}
        made = build([Memory(*here, there, sysctls=sysctls, netns_names=names)], utc=True)
        told[tuple(wrong)] = [one.namespaces for one in made.settings]
        text = " ".join(report_text(made, utc=True).split())
        assert ("network namespaces web, db: net.ipv4.tcp_retries2" in text) == (db in wrong)
        assert "lab-1-a" not in text
    assert told == {(lab,): [], (web, lab): [("web",)], (web, db): [("web", "db")]}


def test_an_empty_recording_has_nothing_to_say() -> None:
    made = build([Memory()], utc=True)
    assert (made.closes, made.causes, made.incident) == (0, (), None)
    assert "0 connections ended" in report_text(made, utc=True)


def test_text_fits_a_terminal(report: Report) -> None:
    assert max(map(len, report_text(report, utc=True).splitlines())) <= 80


def test_a_flood_of_peers_and_ports_loses_detail_but_no_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("_CELLS", "_PULSES", "_LOCALS", "_TICKS"):
        monkeypatch.setattr(f"tracetw.report.count.scan.{name}", 200)
    monkeypatch.setattr("tracetw.report.count.scan._KEPT_APART", 20)
    times = np.linspace(0, 3600, 5000)
    rows = connections("peer-reset", times, rport=np.arange(5000) + 1000)
    rows["raddr"][:, 2:4] = np.random.default_rng(1).integers(0, 256, (5000, 2))
    rows["pid"] = np.arange(5000) + 1
    made = build([Memory(rows)], utc=True)
    assert made.closes == made.abnormal == 5000
    assert sum(cause.total for cause in made.causes) == 5000
    assert sum(row.total for row in made.ports) <= 5000
    assert any("too many" in note for note in made.notes)
