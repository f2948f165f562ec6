# SPDX-License-Identifier: Apache-2.0
"""Patterns on segments, captures read by scapy, and the ladder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracetw.lab.expect.match import Claim, at_least
from tracetw.lab.net.wire import Packet, disagreements, matches, read
from tracetw.lab.play.ladder import Rung, ladder, wall_ns

MAC_A, MAC_B = "02:00:00:00:00:01", "02:00:00:00:00:02"


def segment(direction: str, *flags: str, payload: int = 0, window: int = 100) -> Packet:
    return Packet(0, direction, frozenset(flags), 0, 0, payload, window, (1, 2))


@pytest.mark.parametrize(
    ("pattern", "fits"),
    [
        ("A>B", True),
        ("B>A", False),
        ("FIN ACK", True),
        ("FIN !ACK", False),
        ("!RST", True),
        ("EMPTY", True),
        ("DATA", False),
        ("PURE", False),
        ("ZERO", False),
        ("ICMP", False),
    ],
)
def test_pattern(pattern: str, *, fits: bool) -> None:
    assert matches(pattern, segment("A>B", "FIN", "ACK")) is fits


def test_unknown_word_is_a_mistake() -> None:
    with pytest.raises(KeyError):
        matches("FYN", segment("A>B", "FIN"))


def test_pure_and_zero() -> None:
    assert matches("PURE", segment("A>B", "ACK"))
    assert not matches("PURE", segment("A>B", "ACK", payload=1))
    assert matches("ZERO", segment("A>B", "ACK", window=0))
    assert not matches("ZERO", segment("A>B", "RST", "ACK", window=0))


CLOSE = [segment("A>B", "FIN", "ACK"), segment("B>A", "ACK"), segment("B>A", "FIN", "ACK")]


def test_counts_and_order_agree() -> None:
    wire: dict[str, int | Claim] = {"FIN": 2, "B>A": at_least(2), "RST": 0}
    assert disagreements(wire, ("A>B FIN", "B>A PURE", "B>A FIN"), CLOSE) == []


def test_counts_and_order_disagree() -> None:
    assert disagreements({"FIN": 1}, (), CLOSE) == ["FIN: 2, not 1"]
    assert disagreements({"FIN": at_least(3)}, (), CLOSE) == ["FIN: 2, not >= 3"]
    (found,) = disagreements({}, ("B>A FIN", "A>B FIN"), CLOSE)
    assert found.startswith("no A>B FIN where it should follow")


@pytest.mark.parametrize("family", [4, 6])
def test_reads_a_capture(tmp_path: Path, family: int) -> None:
    inet, inet6 = (
        pytest.importorskip("scapy.layers.inet"),
        pytest.importorskip("scapy.layers.inet6"),
    )
    layer2, tools = pytest.importorskip("scapy.layers.l2"), pytest.importorskip("scapy.utils")
    a, b = ("10.0.0.1", "10.0.0.2") if family == 4 else ("fd00::1", "fd00::2")
    header = inet.IP if family == 4 else inet6.IPv6
    to_b = layer2.Ether(src=MAC_A, dst=MAC_B) / header(src=a, dst=b)
    to_a = layer2.Ether(src=MAC_B, dst=MAC_A) / header(src=b, dst=a)
    options = [("Timestamp", (1, 2))]
    packets = [
        to_b / inet.TCP(sport=1000, dport=7000, flags="S", seq=99, options=options),
        to_a / inet.TCP(sport=7000, dport=1000, flags="SA", seq=499, ack=100, options=options),
        to_b / inet.TCP(sport=1000, dport=7000, flags="PA", seq=100, ack=500) / b"hello",
        to_a / inet.TCP(sport=7000, dport=1000, flags="R", seq=500, window=0),
    ]
    tools.wrpcap(str(tmp_path / "x.pcap"), packets)
    found = read(tmp_path / "x.pcap")
    assert [(s.direction, s.seq, s.ack, s.payload) for s in found] == [
        ("A>B", 0, 0, 0),
        ("B>A", 0, 1, 0),
        ("A>B", 1, 1, 5),
        ("B>A", 1, 0, 0),
    ]
    assert [s.flags for s in found] == [{"SYN"}, {"SYN", "ACK"}, {"PSH", "ACK"}, {"RST"}]


def test_times_are_exact_to_the_nanosecond() -> None:
    assert wall_ns("1970-01-02T00:00:01.000000002Z") == 86_401_000_000_002


def test_ladder_fits_a_terminal() -> None:
    rows = [
        Rung(0, a="FIN_WAIT1", wire="--- FIN ACK ".ljust(29, "-") + ">", b="CLOSE_WAIT"),
        Rung(1_500_000, remark="something was done"),
    ]
    lines = list(ladder(rows))
    assert max(map(len, lines)) <= 80
    assert lines[1].split()[0] == "0.0"
    assert lines[2].strip() == "1.5  * something was done"


def test_cause_and_effect_share_a_row() -> None:
    arrow = "--- FIN ACK ".ljust(29, "-") + ">"
    row = Rung(0, a="FIN_WAIT1")
    assert row.takes(Rung(10, wire=arrow))
    row.take(Rung(10, wire=arrow))
    assert row.takes(Rung(20, b="CLOSE_WAIT"))
    assert not row.takes(Rung(20, a="FIN_WAIT2"))
    assert not row.takes(Rung(20_000_000, b="CLOSE_WAIT"))
    assert not row.takes(Rung(20, remark="later"))
