# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import re

import numpy as np
import pytest

from tests.unit.sink_rows import CONTEXT, NAMES, ORDINARY, START, closes, events, varied
from tracetw.event import record
from tracetw.sink.human import amount, endpoint, endpoints, share, size, span, spans
from tracetw.sink.summary import summary_text
from tracetw.sink.table import TableSink
from tracetw.stream import loss_places
from tracetw.stream.batch import Closes, Events, Loss, NoRoom, Summary
from tracetw.text import columns
from tracetw.verdict.explain import sentences
from tracetw.verdict.taxonomy import CLOSED_BY, FIRST_CLOSE, FORMS, VERDICTS

ANSI = re.compile(r"\x1b\[\d*m")
EVERY_EVENT = events(
    *({"kind": 1, "from": a, "to": b} for a in range(12) for b in range(12)),
    *({"kind": 2, "from": 4, "code": code} for code in record.What),
    *({"kind": 3, "code": code, "born": START - 1} for code in record.Timewait),
    *({"kind": 4, "code": code, "reason": 33} for code in record.Drop),
)


def lines(
    *batches: Closes | Events, wide: bool = False, color: bool = False, utc: bool = True
) -> list[str]:
    out = io.BytesIO()
    sink = TableSink(out, CONTEXT, wide=wide, color=color, utc=utc)
    for batch in batches:
        if isinstance(batch, Closes):
            sink.closes(batch)
        else:
            sink.events(batch)
    return out.getvalue().decode().split("\n")[:-1]


def test_one_line_says_what_happened() -> None:
    batch = closes({"first_close": FIRST_CLOSE.index("local")})
    assert lines(batch) == [
        "TIME     LOCAL               REMOTE            PROCESS      VERDICT",
        "03:04:06 10.0.0.1:443      > 10.0.0.2:51234    nginx/1234   orderly fin-4 10ms",
    ]


def test_no_line_is_longer_than_80_columns() -> None:
    long = {"family": 10, "local": "2001:db8:1111:2222:3333:4444:5555:6666", "pid": 4194304}
    long |= {"remote": "fd00:1111:2222:3333:4444:5555:6666:7777", "comm": b"a-command-name"}
    batches: list[Closes | Events] = [varied(500), EVERY_EVENT]
    batches += [closes(*(long | {"verdict": verdict.code} for verdict in VERDICTS))]
    text = lines(*batches)
    assert len(text) == 1 + 500 + len(EVERY_EVENT.rows) + len(VERDICTS)
    assert max(map(columns, text)) == 80


def test_the_verdict_is_never_cut() -> None:
    text = lines(closes(*({"verdict": verdict.code} for verdict in VERDICTS)))[1:]
    assert [line[60:].split()[0] for line in text] == [verdict.code for verdict in VERDICTS]


@pytest.mark.parametrize("wide", [False, True])
def test_no_escapes_without_colour_and_the_same_text_with(*, wide: bool) -> None:
    plain = lines(varied(200), EVERY_EVENT, wide=wide)
    assert not any("\x1b" in line for line in plain)
    colored = lines(varied(200), EVERY_EVENT, wide=wide, color=True)
    assert [ANSI.sub("", line).rstrip() for line in colored] == plain
    assert all(ANSI.search(line) for line in colored)


def test_a_command_name_cannot_play_with_the_terminal() -> None:
    comm = b"\x1b[31m\r\x07" + "中".encode()
    (_, line) = lines(closes({"comm": comm, "pid": 7}))
    assert line[47:59] == "\\x1b[31m\\…/7"
    (_, line) = lines(closes({"comm": comm, "pid": 7}), wide=True)
    assert "\\x1b[31m\\r\\x07中/7 " in line
    (_, plain) = lines(closes({}), wide=True)
    assert columns(line.partition("orderly")[0]) == columns(plain.partition("orderly")[0])


def test_who_killed_the_process_stands_behind_the_verdict() -> None:
    crash = {"closed_by": CLOSED_BY.index("process-crash"), "exit_code": 11}
    oom = {"closed_by": CLOSED_BY.index("oom-kill"), "verdict": "abort-unread"}
    text = lines(closes(crash, oom))[1:]
    assert [line[60:] for line in text] == ["orderly SIGSEGV 10ms", "abort-unread OOM"]


def test_the_heading_comes_once() -> None:
    text = lines(varied(2), EVERY_EVENT, varied(2))
    assert sum(line.startswith("TIME") for line in text) == 1


def test_wide_has_the_sentence_and_whole_addresses() -> None:
    far = "fd00:1111:2222:3333:4444:5555:6666:7777"
    batch = closes({"family": 10, "local": "2001:db8::1", "remote": far})
    (_, line) = lines(batch, wide=True)
    assert f"[{far}]:51234" in line
    assert line.endswith(sentences(batch.rows, batch.findings, NAMES)[0])


def test_unknown_is_a_dash() -> None:
    (_, line) = lines(closes({"verdict": "undetermined"}, bare=True))
    assert line.split() == ["-", "-", "!", "-", "-", "undetermined"]


def test_events_are_named_as_in_the_contract() -> None:
    some = events(
        {"kind": 1, "from": 1, "to": 4},
        {"kind": 2, "from": 4, "code": record.What.FIN},
        {"kind": 3, "code": record.Timewait.KILLED_BY_RESET},
        {"kind": 4, "code": record.Drop.OUT_OF_WINDOW_RESET},
    )
    assert [line[60:] for line in lines(some)[1:]] == [
        "ESTAB→FIN_WAIT1",
        "retransmit fin",
        "tw killed-by-reset",
        "out-of-window-reset",
    ]


def test_loss_is_a_line_of_its_own() -> None:
    out = io.BytesIO()
    sink = TableSink(out, CONTEXT, wide=False, color=False, utc=True)
    sink.loss(Loss(3, "ring buffer full", 10**18, 10**18 + 10**9))
    expected = "-- 3 records lost between 01:46:40 and 01:46:41: ring buffer full"
    assert out.getvalue().decode().splitlines()[1] == expected


def test_summary_fits_80_columns_and_advises_on_what_dominates() -> None:
    rows = [
        {
            "counter": "TCPAbortOnTimeout",
            "kernel": 7,
            "explained": 5,
            "difference": 2,
            "reason": None,
        },
        {"counter": "TW", "kernel": 9, "explained": 9, "difference": 0, "reason": None},
        {"counter": "OutRsts", "kernel": 0, "explained": 0, "difference": 0, "reason": None},
        {"counter": "PAWSTimewait", "kernel": None, "explained": 0, "difference": None}
        | {"reason": "this kernel does not have it"},
    ]
    closed = {verdict.code: 1 for verdict in VERDICTS} | {"orderly": 900, "peer-reset": 200}
    text = summary_text(Summary(0, 61.0, closed, 4, rows))  # type: ignore[arg-type]
    assert max(map(len, text.splitlines())) <= 80
    advice = next(verdict.advice for verdict in VERDICTS if verdict.code == "peer-reset")
    assert advice in " ".join(text.split())
    assert "unexplained" in text
    assert "lost: 4 records" in text
    assert "OutRsts" not in text


def test_summary_of_nothing() -> None:
    text = summary_text(Summary(0, 2.0, {}, 0, []))
    assert "no connection ended in 2.0s" in text
    assert "lost: nothing" in text


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0us"),
        (340_000, "340us"),
        (1_340_000, "1.3ms"),
        (9_990_000, "10.0ms"),
        (35_400_000, "35ms"),
        (999_999_999, "1.0s"),
        (59_900_000_000, "59.9s"),
        (60_000_000_000, "1m00s"),
        (123_000_000_000, "2m03s"),
        (18_720_000_000_000, "5h12m"),
        (273_600_000_000_000, "3d04h"),
    ],
)
def test_span(ns: int, text: str) -> None:
    assert span(ns) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (1023, "1023"), (1536, "1.5K"), (640 * 2**20, "640M"), (2**63, "8192P")],
)
def test_size(count: int, text: str) -> None:
    assert size(count) == text


def test_addresses_are_shortened_where_they_say_least() -> None:
    assert endpoint("10.0.0.1", 443, 13) == "10.0.0.1:443"
    assert endpoint("192.168.100.200", 65535, 13) == "…00.200:65535"
    assert endpoint("2001:db8:1:2:3:4:5:6", 443, 21) == "[2001:…2:3:4:5:6]:443"
    assert endpoint("2001:db8::1", 443) == "[2001:db8::1]:443"
    far = "2001:db8:1111:2222:3333:4444:5555:6666"
    assert endpoint(far, 51234, 17) == "[…555:6666]:51234"
    assert endpoint(far, 443, 21) == "[2001:…5555:6666]:443"
    assert endpoint(far, 65535, 13) == "[…6666]:65535"
    assert endpoint(far, 0, 17) == "…3:4444:5555:6666"


def test_forms_are_shown_for_orderly_only() -> None:
    reset = {"verdict": "peer-reset", "form": FORMS.index("rst-received")}
    text = lines(closes(reset, {"flags": ORDINARY["flags"] & ~record.F_BORN}))[1:]
    assert [line[60:] for line in text] == ["peer-reset 10ms", "orderly fin-4"]


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [
        (0, 10, "0%"),
        (0, 0, "0%"),
        (1, 10_000, "<0.1%"),
        (10, 10_000, "0.1%"),
        (1234, 10_000, "12.3%"),
        (9989, 10_000, "99.9%"),
        (9996, 10_000, ">99.9%"),
        (10_000, 10_000, "100%"),
    ],
)
def test_a_share_is_nothing_or_everything_only_when_it_is(part: int, whole: int, text: str) -> None:
    assert share(part, whole) == text


def test_numbers_and_nouns_of_the_summary() -> None:
    assert (amount(0, "record"), amount(1, "record")) == ("0 records", "1 record")
    off = {"counter": "TW", "kernel": 1, "explained": 0, "difference": 1, "reason": None}
    same = {"counter": "OutRsts", "kernel": 3, "explained": 3, "difference": 0, "reason": None}
    closed = {"orderly": 12_345, "peer-reset": 5}
    text = summary_text(Summary(0, 1.0, closed, 1, [same, off]))  # type: ignore[list-item]
    assert "12,350 connections ended in 1.0s, 5 abnormally" in text
    assert ">99.9%" in text
    assert "<0.1%" in text
    assert "lost: 1 record. What it told is not above" in " ".join(text.split())
    assert "1 kernel counter agrees with what was explained, 1 differs" in text
    text = summary_text(Summary(0, 1.0, closed, 0, [same, same, off, off]))  # type: ignore[list-item]
    assert "2 kernel counters agree with what was explained, 2 differ" in text


def test_the_summary_of_a_filter_speaks_of_what_the_filter_lets_through() -> None:
    text = summary_text(Summary(0, 2.0, {}, 0, [], filtered=True))
    assert "no connection that the filter lets through ended in 2.0s" in text
    text = summary_text(Summary(0, 2.0, {"orderly": 2}, 0, [], filtered=True))
    assert "2 connections that the filter lets through ended in 2.0s, none abnormally" in text


def test_what_helps_against_a_loss_depends_on_its_place() -> None:
    def told(**places: int) -> str:
        at = {getattr(loss_places, name): number for name, number in places.items()}
        text = summary_text(Summary(0, 2.0, {}, sum(at.values()), [], lost_at=at))
        assert max(map(len, text.splitlines())) <= 80
        return " ".join(text.split())

    assert "lost: 3 records (ring buffer of closes). What they told is not above" in told(CLOSES=3)
    assert "A filter that lets fewer through helps." in told(CLOSES=3)
    assert "helps." not in told(NOT_ANNOUNCED=1)
    assert "No option helps against ends that the kernel ran no program for" in told(
        NOT_ANNOUNCED=1
    )
    both = told(EVENTS=2, CLOSES=1, INTERRUPTED=1_000)
    assert (
        "(ring buffer of events: 2; ring buffer of closes: 1; program interrupted on its CPU: 1,000)"
        in both
    )
    assert both.count("fewer through helps.") == 1
    hostile = Summary(0, 2.0, {}, 1, [], lost_at={"\x1b[2Jdisk": 1})
    assert "\x1b" not in summary_text(hostile)


def test_what_had_no_room_is_in_the_summary_with_the_option_that_gives_more() -> None:
    full = NoRoom(connections=85_500, ends=0, records=7, max_connections=131_072)
    text = " ".join(summary_text(Summary(0, 2.0, {}, 0, [], no_room=full)).split())
    assert "no room: 85,500 connections began" in text
    assert "; 7 ends were reported before" in text
    assert "room for 131,072 live connections; --max-connections gives more." in text
    assert "no room" not in summary_text(Summary(0, 2.0, {}, 0, [], no_room=NoRoom()))


def test_many_times_and_ends_are_written_as_each_of_them() -> None:
    random = np.random.default_rng(1)
    digits = random.integers(0, 16, 3000)
    edges = np.arange(0, 12_000_000, 500)
    ns = np.concatenate(
        [edges - 1, edges, edges + 1, random.integers(0, 10**16, 3000) // 10**digits]
    )
    assert spans(ns, "-") == [span(one) if one >= 0 else "-" for one in ns.tolist()]
    addresses = ["10.0.0.1", "192.168.100.200", "10.0.0.1", "2001:db8::1", "::1"]
    for ports in ([443, 65535, 1, 2, 3], [443, 0, 1, 2, 0]):
        for width in (None, 14, 17):
            for count in (3, 5):
                ends = list(zip(addresses[:count], ports[:count], strict=True))
                told = endpoints(addresses[:count], ports[:count], width)
                assert told == [endpoint(*end, width) for end in ends]
