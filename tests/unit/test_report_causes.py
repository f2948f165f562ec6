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


def found(*parts: Any, **more: Any) -> Report:
    return build([Memory(*traffic(), *parts, **more)], utc=True)


def test_a_peer_that_fell_silent_is_one_incident_whatever_timer_found_out(report: Report) -> None:
    one = report.incidents[0]
    assert (one.kind, one.total, one.side) == ("silent", 450, "client")
    assert one.began_ns == pytest.approx(WALL + 1000 * SECOND, abs=10**8)
    assert one.title == "10.1.2.3:5432 stopped answering"
    assert one.sentence.startswith(
        "From 12:16:40 to 12:33:04 (16m24s): 10.1.2.3:5432 stopped answering: 450 connections without an answer"
    )
    assert one.verdicts == {"retransmit-exhausted": 412, "keepalive-expired": 38}
    assert one.processes == {"nginx (pid 812)": 412, "worker (pid 990)": 38}
    assert (one.ports, one.peers) == ({"5432": 450}, {"10.1.2.3": 450})
    assert len(one.containers) == 2
    # Others got through: then it is not said that the peer was down.
    assert "to the same address and port began in order meanwhile" in one.evidence[0]


def test_aborts_belong_to_the_process(report: Report) -> None:
    one = report.incidents[1]
    assert (one.kind, one.title) == ("aborts", "php-fpm (pid 4242) cut connections with RST")
    assert (one.began_ns, one.ended_ns) == (WALL + 2000 * SECOND, WALL + 2029.5 * SECOND)


def test_what_went_on_all_along_is_no_incident(report: Report) -> None:
    (steady,) = report.causes
    assert steady.began_ns is None
    assert "all along: 180 connections peer-reset" in steady.sentence
    assert (report.affected, report.in_incidents) == (690, 510)
    text = report_text(report, utc=True)
    assert "510 of 690 connections that went wrong are in them" in text
    quiet = build([Memory(*traffic())], utc=True)
    assert quiet.incidents == ()
    assert "no incident" in report_text(quiet, utc=True)


def test_rates_are_of_before_the_first_incident_and_of_all_of_them(report: Report) -> None:
    rows = {row.verdict: row for row in report.verdicts}
    assert rows["keepalive-expired"].before_per_minute == 0
    assert rows["orderly"].during_per_minute == pytest.approx(300, rel=0.1)


def test_stories_are_under_the_incident_that_they_belong_to(report: Report) -> None:
    for one in report.incidents:
        assert 0 < len(one.stories) <= 6
        told = [story for story in report.stories if story.number in one.stories]
        assert {story.close["verdict"] for story in told} <= {*one.verdicts}
        assert {story.incident for story in told} == {one.number}


def test_two_refused_ports_of_one_address_have_their_own_stories() -> None:
    rows = [
        connections("connect-refused", 1500 + np.arange(9) * 0.3, remote="10.1.2.9", rport=port)
        for port in (8080, 8081)
    ]
    made = found(*rows)
    assert [one.service and one.service.port for one in made.incidents] == [8080, 8081]
    for one in made.incidents:
        ports = {made.stories[number - 1].close["remote"]["port"] for number in one.stories}
        assert ports == {one.service.port if one.service else 0}


def test_peers_that_fall_together_are_one_incident() -> None:
    lost = [
        connections(
            "keepalive-expired", 1500 + np.arange(20) * 0.2, remote=f"10.9.0.{host}", rport=80
        )
        for host in range(1, 9)
    ]
    one = found(*lost).incidents[0]
    assert (one.kind, one.total, one.peers_count) == ("peer-down", 160, 8)
    assert one.title == "8 peers in 10.9.0.0/28 answered no more"
    assert "one without power and one cut off look the same from here" in one.missing[0]


@pytest.mark.parametrize(
    ("shape", "title"),
    [
        ("connect-refused", "10.1.2.9:8080 refused connections"),
        ("peer-lost-state", "10.1.2.9 no longer knew its connections"),
        ("peer-reset", "10.1.2.9 reset connections"),
    ],
)
def test_kinds(shape: str, title: str) -> None:
    rows = connections(shape, 1500 + np.arange(40) * 0.5, remote="10.1.2.9", rport=8080)
    (one,) = found(rows).incidents
    assert (one.title, one.total) == (title, 40)
    assert (one.began_ns, one.ended_ns) == (WALL + 1500 * SECOND, WALL + 1519.5 * SECOND)


def dead(at: float, signal: int = 11, count: int = 30, pid: int = 77, **more: Any) -> Any:
    rows = connections(
        "orderly-active", np.full(count, at), comm=b"java", pid=pid, exit_code=signal, lport=9101,
        rport=0, server=True, remote="10.2.2.2", **more,
    )  # fmt: skip
    rows["flags"] |= r.F_EXITING
    return rows


def test_a_death_is_an_incident_with_the_refusals_that_follow() -> None:
    refused = connections(
        "connect-refused", 1500.2 + np.arange(50) * 0.1, local="10.9.9.9", remote="10.0.0.1",
        rport=9101,
    )  # fmt: skip
    again = connections(
        "orderly-passive", [1506.0, 1507.0], lport=9101, rport=0, server=True, pid=99, comm=b"java"
    )
    (one,) = found(dead(1500.0, 9), refused, again).incidents
    assert (one.kind, one.total, one.deaths) == ("kill", 80, 1)
    assert one.title == "java (pid 77) was killed by SIGKILL"
    assert one.actor is not None
    assert (one.actor.comm, one.actor.pid, one.actor.signal) == ("java", 77, "SIGKILL")
    assert [(phase.what, phase.count) for phase in one.phases] == [
        ("closed", 30), ("refused", 50), ("back", 0)
    ]  # fmt: skip
    assert one.phases[-1].text.startswith("served again by pid 99 on 10.0.0.1:9101 at 12:25:0")


def test_a_program_that_dies_again_and_again_is_one_incident_and_kills_are_not() -> None:
    (one,) = found(*(dead(1500.0 + at, pid=77 + at) for at in (0, 4, 8, 12))).incidents
    assert (one.kind, one.deaths, one.total) == ("crash-loop", 4, 120)
    kills = found(*(dead(1500.0 + at * 10, 9, pid=77 + at) for at in range(3))).incidents
    assert [one.kind for one in kills] == ["kill"] * 3


def test_incidents_with_good_time_between_them_are_apart() -> None:
    rows = [
        connections("connect-refused", at + np.arange(30) * 0.1, remote="10.1.2.9", rport=8080)
        for at in (1000, 1100, 1200)
    ]
    made = found(*rows)
    assert [(one.total, one.began_ns) for one in made.incidents] == [
        (30, WALL + at * SECOND) for at in (1000, 1100, 1200)
    ]
    assert made.in_incidents == 90


def test_a_burst_and_what_comes_right_after_it_are_one_incident() -> None:
    times = np.concatenate([1500 + np.arange(400) * 0.025, 1510.1 + np.arange(4) * 0.9])
    rows = connections("abort-unread", times, comm=b"php-fpm", pid=4242)
    (one,) = found(rows).incidents
    assert (one.kind, one.total) == ("aborts", 404)


def test_a_server_says_which_client_of_which_port_fell_silent() -> None:
    rows = connections(
        "keepalive-expired", 1500 + np.arange(5) * 0.1, remote="10.77.0.3", lport=9102, rport=0,
        server=True,
    )  # fmt: skip
    (one,) = found(rows).incidents
    assert one.title == "client 10.77.0.3 of our port 9102 stopped answering"
    assert (one.side, one.actor) == ("server", None)


def test_a_recording_of_nothing_but_aborts_is_an_incident_that_was_running() -> None:
    made = build([Memory(connections("abort-unread", np.linspace(0, 3599, 9492)))], utc=True)
    (one,) = made.incidents
    assert (one.kind, one.running, one.total) == ("aborts", True, 9492)
    assert one.sentence.startswith("From the beginning of the recording: nginx (pid 812) cut")


def test_attempts_count_from_when_they_began() -> None:
    rows = connections("connect-refused", 1500 + np.arange(20) * 0.1, remote="10.1.2.9")
    for row in rows:
        row["err"], row["flags"] = 110, row["flags"] & ~np.uint32(r.F_RST_IN)
    rows["retransmits"] = rows["total_retrans"] = 3
    rows["at"][:, 0] -= np.uint64(7 * SECOND)
    (one,) = found(rows).incidents
    assert one.verdicts == {"connect-timeout": 20}
    assert one.began_ns == pytest.approx(WALL + 1493 * SECOND, abs=10**7)
    assert one.ended_ns == pytest.approx(WALL + 1494.9 * SECOND, abs=10**7)


def test_filters_and_times_choose() -> None:
    recording = Memory(*traffic(), *outage())
    only = build([recording], Filter.parse(verdict=["abort-unread"]), utc=True)
    assert (only.closes, only.abnormal, len(only.incidents)) == (60, 60, 1)
    window = Window(WALL, WALL + 900 * SECOND)
    early = build([recording], window=window, utc=True)
    assert early.incidents == ()
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
    assert (made.closes, made.causes, made.incidents) == (0, (), ())
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
    assert made.affected == made.in_incidents == sum(one.total for one in made.incidents) == 5000
    assert sum(row.total for row in made.ports) <= 5000
    assert any("too many" in note for note in made.notes)
