# SPDX-License-Identifier: Apache-2.0
"""What a report draws: histograms of lengths of time, and what went wrong by peer and service."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit.report_rows import Memory, connections, outage, traffic
from tracetw.event.record import F_BORN, T_QUIET
from tracetw.report.build import build
from tracetw.report.figures import Histogram
from tracetw.report.render.html import page


def lengths(*parts: object) -> dict[str, Histogram]:
    report = build([Memory(*parts)], utc=True)  # type: ignore[arg-type]
    return {one.measure: one for one in report.histograms}


@pytest.mark.parametrize("seconds", [0.0001, 0.04, 59.0, 61.0, 240.0, 350.0, 924.0, 86400.0])
def test_a_length_of_time_is_in_the_bin_that_has_it(seconds: float) -> None:
    rows = connections("peer-reset", [100_000.0], before=(seconds * 1000, 0, 0))
    found = lengths(rows)["duration_ms"]
    low, high = found.edges_ms
    assert low * 0.999 <= max(seconds * 1000, 0.1) <= high * 1.001
    assert high / low == pytest.approx(10 ** (1 / 20), rel=1e-3)
    assert found.verdicts == {"peer-reset": (1,)}


def test_nothing_is_left_out_of_a_histogram() -> None:
    rows = connections("peer-reset", 1500.0 + np.arange(40))
    rows["traits"] |= T_QUIET
    rows["idle"] = rows["quiet"] = np.arange(40) * 250 * 15
    found = lengths(rows, *traffic(), *outage())
    for one in found.values():
        known = sum(sum(counts) for counts in one.verdicts.values())
        assert known + sum(one.unknown.values()) == 18_000 + 180 + 40 + 510
        assert {len(counts) for counts in one.verdicts.values()} <= {len(one.edges_ms) - 1}
        assert list(one.edges_ms) == sorted(one.edges_ms)
    assert sum(found["idle_ms"].verdicts["peer-reset"]) == 40
    assert found["duration_ms"].unknown == {}


def test_of_a_connection_that_began_earlier_the_length_is_unknown() -> None:
    rows = connections("peer-reset", [10.0, 20.0])
    rows["flags"][0] &= ~np.uint64(F_BORN)
    found = lengths(rows)["duration_ms"]
    assert (found.verdicts, found.unknown) == ({"peer-reset": (1,)}, {"peer-reset": 1})


def test_without_connections_a_histogram_is_empty() -> None:
    for one in lengths().values():
        assert (one.edges_ms, one.verdicts, one.unknown) == ((), {}, {})


def test_what_went_wrong_by_peer_and_by_service() -> None:
    report = build([Memory(*traffic(), *outage())], utc=True)
    peer, service = report.heat
    assert [(row.name, row.total) for row in peer.rows] == [
        ("10.1.2.3", 450), ("192.0.2.7", 180), ("192.0.2.8", 60),
    ]  # fmt: skip
    assert [(row.name, row.total) for row in service.rows] == [
        ("10.1.2.3:5432", 450), ("port 443 of web-1", 240),
    ]  # fmt: skip
    for told in report.heat:
        assert (told.others, sum(told.rest)) == (0, 0)
        assert told.width_ns == 60 * 10**9
        assert told.begin_ns % told.width_ns == 0
        assert all(sum(row.counts) == row.total for row in told.rows)
        assert {len(row.counts) for row in told.rows} == {len(told.rest)} == {61}
    # 38 of it end 80 s after second 1000, 412 of it 924 s after.
    assert [at for at, number in enumerate(peer.rows[0].counts) if number] == [18, 32, 33]


def test_what_has_no_row_is_summed_up() -> None:
    many = [
        connections("peer-reset", np.array([at, at + 1.0]), remote=f"10.7.0.{at}")
        for at in range(1, 41)
    ]
    report = build([Memory(*many)], utc=True)
    peer, _ = report.heat
    assert len(peer.rows) == 20
    assert (peer.others, sum(peer.rest)) == (20, 40)
    assert report.counts["peers"] == 40


def test_the_page_of_a_fleet_is_bounded() -> None:
    """Sixteen hosts, each with each: every pair is told, the stories are those of the first."""
    recordings = []
    for a in range(16):
        parts = []
        for b in range(16):
            low, high = sorted((a, b))
            here, there = f"10.9.0.{a + 1}", f"10.9.0.{b + 1}"
            port, end = np.array([40000 + low * 100 + high]), [100.0 + low + high]
            if a < b:
                parts.append(connections("peer-reset", end, local=here, remote=there, lport=port))
            elif a > b:
                parts.append(
                    connections(
                        "peer-reset",
                        end,
                        local=here,
                        remote=there,
                        lport=443,
                        rport=port,
                        server=True,
                    )
                )
        recordings.append(Memory(*parts, host=f"host-{a}", run=str(a)))
    report = build(recordings, utc=True)
    assert report.pairs == len(report.both) == 120
    assert len([one for one in report.both if one.stories]) == 50
    assert len(report.stories) < 80
    assert len(page(report, utc=True)) < 500_000


def test_the_map_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Peers that are no longer told apart are in the sum, and nobody says how many they are."""
    from tracetw.report.count import scan  # noqa: PLC0415

    monkeypatch.setattr(scan, "_PULSES", 50)
    many = [
        connections(
            "peer-reset", np.arange(30) * 100.0 + at, remote=f"10.7.{at}.1", lport=at + 1, rport=443
        )
        for at in range(60)
    ]
    report = build([Memory(*many, seconds=86_400)], utc=True)
    for told in report.heat:
        assert len(told.rest) <= 96
        assert sum(row.total for row in told.rows) + sum(told.rest) == 1800
    assert report.heat[0].others is None
