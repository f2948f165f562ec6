# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from tests.unit.sink_rows import GROUPS, ORDINARY, closes, events, varied
from tracetw.errors import BadInput
from tracetw.event import record
from tracetw.kernel.filter import KernelFilter, KernelNet
from tracetw.stream.filter import Filter, seconds


def kept(wanted: Filter, *rows: dict[str, Any]) -> list[bool]:
    batch = closes(*rows)
    answer: list[bool] = wanted.mask(batch.rows, batch.findings, GROUPS.get).tolist()
    return answer


def test_no_condition_keeps_all() -> None:
    batch = varied(100)
    assert Filter.parse() == Filter()
    assert Filter().mask(batch.rows, batch.findings).all()
    assert Filter().kernel() == KernelFilter((), (), (), (), (), ())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"port": ["443"]}, [True, False, True]),
        ({"port": ["1-400", "500"]}, [False, True, True]),
        ({"local_port": ["80,443"]}, [True, False, False]),
        ({"remote_port": ["80,443"]}, [False, False, True]),
        ({"port": ["443"], "local_port": ["443"]}, [True, False, False]),
    ],
)
def test_ports(options: dict[str, Any], expected: list[bool]) -> None:
    rows = (
        {"lport": 443, "rport": 9000},
        {"lport": 500, "rport": 9000},
        {"lport": 22, "rport": 443},
    )
    assert kept(Filter.parse(**options), *rows) == expected


V4 = {"local": "10.1.2.3", "remote": "192.0.2.7"}
MAPPED = {"family": 10, "local": "::ffff:10.1.2.3", "remote": "::ffff:192.0.2.7"}
V6 = {"family": 10, "local": "2001:db8::1", "remote": "2001:db8:1::1"}
NO_ADDRESS = {**V4, "flags": 0}


@pytest.mark.parametrize(
    ("nets", "expected"),
    [
        (["10.0.0.0/8"], [True, True, False, False]),
        (["192.0.2.7"], [True, True, False, False]),
        (["10.1.2.4/31"], [False, False, False, False]),
        (["10.1.2.77/24"], [True, True, False, False]),
        (["::ffff:10.0.0.0/104"], [True, True, False, False]),
        (["2001:db8::/48"], [False, False, True, False]),
        (["[2001:db8:1::1]"], [False, False, True, False]),
        (["0.0.0.0/0"], [True, True, False, False]),
        (["::/0"], [False, False, True, False]),
        (["10.0.0.0/8,2001:db8::/32"], [True, True, True, False]),
    ],
)
def test_addresses(nets: list[str], expected: list[bool]) -> None:
    assert kept(Filter.parse(addr=nets), V4, MAPPED, V6, NO_ADDRESS) == expected


@pytest.mark.parametrize(
    ("options", "row", "other"),
    [
        ({"pid": ["1", "77"]}, {"pid": 77}, {"pid": 78}),
        ({"comm": ["nginx"]}, {"comm": b"nginx"}, {"comm": b"nginx2"}),
        ({"comm": ["py*"]}, {"comm": b"python3"}, {"comm": b"cpython"}),
        # The kernel keeps 15 bytes of a name.
        ({"comm": ["prometheus-node-exporter"]}, {"comm": b"prometheus-node"}, {"comm": b"x"}),
        ({"verdict": ["peer-reset,abort-linger"]}, {"verdict": "abort-linger"}, {}),
        ({"abnormal": True}, {"verdict": "keepalive-expired"}, {"verdict": "orderly"}),
        ({"min_duration": "10ms"}, {}, {"at": [10**9] * 5 + [0, 0]}),
    ],
)
def test_one_condition(options: dict[str, Any], row: dict[str, Any], other: dict[str, Any]) -> None:
    assert kept(Filter.parse(**options), row, other) == [True, False]


def test_min_duration_of_an_older_connection_is_what_was_seen() -> None:
    old = {"path": 0x456, "at": [10**9, 3 * 10**9, 0, 0, 0, 0, 0], "flags": record.F_ADDR}
    assert kept(Filter.parse(min_duration="2s"), old) == [True]
    assert kept(Filter.parse(min_duration="2.1s"), old) == [False]


def test_groups_with_everything_below() -> None:
    wanted = Filter(cgroups=("/system.slice",))
    rows = [{"cgroup": number} for number in (0, 7, 8, 99)]
    assert kept(wanted, *rows) == [False, True, True, False]
    assert kept(Filter(cgroups=("/system",)), *rows) == [False] * 4
    assert kept(Filter(cgroups=("",)), *rows) == [False, True, True, False]


def test_namespaces() -> None:
    own = Path("/proc/self/ns/net").stat().st_ino
    wanted = Filter.parse(netns=["/proc/self/ns/net"])
    assert wanted.netns == frozenset({own})
    assert kept(wanted, {"netns": own}, {"netns": own + 1}) == [True, False]
    assert Filter.parse(netns=["/proc/self/ns/net", "all"]).netns is None


def test_events_have_no_verdict_to_ask_for() -> None:
    wanted = Filter.parse(port=["443"], verdict=["peer-reset"], abnormal=True, min_duration="1h")
    batch = events({"kind": 1}, {"kind": 1, "lport": 1})
    assert wanted.mask_events(batch.rows).tolist() == [True, False]


def test_before_judging_only_facts_are_asked() -> None:
    rows = closes({}, {"lport": 1}).rows
    wanted = Filter.parse(port=["443"], verdict=["peer-reset"])
    assert wanted.mask(rows, None).tolist() == [True, False]


def test_the_part_of_the_kernel() -> None:
    wanted = Filter.parse(
        port=["80-90"], addr=["10.1.0.0/16", "2001:db8::/32"], netns=["/proc/self/ns/net"]
    ).kernel()

    def native(*hexes: str) -> tuple[int, ...]:
        return tuple(int.from_bytes(bytes.fromhex(text), sys.byteorder) for text in hexes)

    assert wanted.ports == ((80, 90),)
    assert wanted.nets4 == (KernelNet(native("0a010000"), native("ffff0000")),)
    zero = "00000000"
    assert wanted.nets6 == (
        KernelNet(native("20010db8", zero, zero, zero), native("ffffffff", zero, zero, zero)),
    )
    assert wanted.netns == (Path("/proc/self/ns/net").stat().st_ino,)


@pytest.mark.parametrize(
    ("options", "value", "form"),
    [
        ({"port": ["70000"]}, "70000", "1 to 65535"),
        ({"port": ["0"]}, "0", "1 to 65535"),
        ({"local_port": ["90-80"]}, "90-80", "8000-8100"),
        ({"remote_port": ["80,"]}, "''", "80,443"),
        ({"port": ["٤"]}, "٤", "80,443"),
        ({"addr": ["10.0.0.0/33"]}, "10.0.0.0/33", "10.0.0.0/8"),
        ({"addr": ["host.example"]}, "host.example", "2001:db8::1"),
        ({"pid": ["-1"]}, "-1", "a number"),
        ({"comm": [""]}, "''", "nginx"),
        ({"netns": ["no-such"]}, "no-such", "inode"),
        ({"cgroup": ["/no/such"]}, "/no/such", "/system.slice"),
        ({"verdict": ["peer-rst"]}, "peer-rst", "did you mean peer-reset?"),
        ({"min_duration": "soon"}, "soon", "500ms"),
        ({"min_duration": "0"}, "0", "500ms"),
    ],
)
def test_bad_input_is_one_line_with_the_value_and_the_valid_form(
    options: dict[str, Any], value: str, form: str
) -> None:
    with pytest.raises(BadInput) as caught:
        Filter.parse(**options)
    text = str(caught.value)
    assert value in text
    assert form in text
    assert "\n" not in text
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "value"), [("500ms", 0.5), ("2", 2), ("1.5s", 1.5), ("2m", 120), ("1h", 3600)]
)
def test_seconds(text: str, value: float) -> None:
    assert seconds("--x", text) == pytest.approx(value)


def test_ordinary_row_matches_itself() -> None:
    wanted = Filter.parse(
        port=[str(ORDINARY["lport"])], addr=[ORDINARY["remote"]], comm=["nginx"], pid=["1234"]
    )
    assert kept(wanted, {}) == [True]
