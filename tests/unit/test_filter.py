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
from tracetw.stream.criteria import Criteria
from tracetw.stream.filter import Filter, Places, seconds
from tracetw.stream.impossible import check
from tracetw.verdict.taxonomy import VERDICTS


def kept(wanted: Filter, *rows: dict[str, Any]) -> list[bool]:
    batch = closes(*rows)
    answer: list[bool] = wanted.mask(batch.rows, batch.findings, GROUPS.get).tolist()
    return answer


def test_no_condition_keeps_all() -> None:
    batch = varied(100)
    assert Filter.parse() == Filter()
    assert Filter().mask(batch.rows, batch.findings).all()
    assert Filter().kernel() == KernelFilter(unless=KernelFilter())


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
        # As it is printed, which is longer than the kernel's 15 bytes.
        ({"comm": [r"\x1b\x1b\x1b\x1b\x1b"]}, {"comm": b"\x1b" * 5}, {"comm": b"\x1b" * 4}),
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


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"port": ["!22"]}, [False, True, False]),
        ({"port": ["!22,80"]}, [False, False, False]),
        ({"port": ["!9000-9001"]}, [True, True, True]),
        ({"local_port": ["!22"]}, [False, True, True]),
        ({"remote_port": ["!22"], "port": ["22"]}, [True, False, False]),
        ({"addr": ["!10.0.0.0/8"]}, [False, True, True]),
        ({"addr": ["10.0.0.0/8", "!10.1.2.3"]}, [False, False, False]),
        ({"comm": ["!nginx"]}, [False, True, True]),
        ({"comm": ["!ng*", "!cu??"]}, [False, False, True]),
        ({"pid": ["!7"]}, [False, True, True]),
        ({"verdict": ["!orderly"]}, [True, False, True]),
        ({"abnormal": True, "verdict": ["!peer-reset"]}, [False, False, False]),
        ({"netns": ["!/proc/self/ns/net"]}, [True, False, True]),
    ],
)
def test_values_that_are_not_wanted(options: dict[str, Any], expected: list[bool]) -> None:
    """What is not known (no address, no owner) is no value that is not wanted."""
    own = Path("/proc/self/ns/net").stat().st_ino
    rows = (
        {"lport": 22, "rport": 5000, "comm": b"nginx", "pid": 7, "verdict": "peer-reset"}
        | {"local": "10.1.2.3", "remote": "192.0.2.1"},
        {"lport": 80, "rport": 5000, "comm": b"curl", "pid": 8, "verdict": "orderly", "netns": own}
        | {"local": "192.0.2.3", "remote": "192.0.2.1"},
        {"lport": 5000, "rport": 22, "comm": b"", "pid": 0, "flags": 0, "verdict": "peer-reset"},
    )
    assert kept(Filter.parse(**options), *rows) == expected


def test_groups_that_are_not_wanted() -> None:
    wanted = Filter(unless=Criteria(cgroups=("/system.slice",)))
    assert kept(wanted, *({"cgroup": number} for number in (0, 7, 99))) == [True, False, True]


DOCKER = "0123456789abcdef" * 4
CONTAINERS = {
    1: f"/system.slice/docker-{DOCKER}.scope",
    2: f"/docker/{DOCKER}/init.scope",
    3: "/lxc.payload.web/system.slice/nginx.service",
    4: "/machine.slice/machine-web\\x2d1.scope",
    5: "/system.slice/web.service",
    6: "/kubepods/cri-containerd:0123456789ab",
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (DOCKER, [1, 2, 6]),
        (DOCKER[:12], [1, 2, 6]),
        ("0123", [1, 2, 6]),
        ("0124", []),
        ("web", [3]),
        ("web-1", [4]),
        ("!web", [1, 2, 4, 5, 6]),
    ],
)
def test_containers(text: str, expected: list[int]) -> None:
    places = Places(lambda _: (), lambda _: (), lambda name: (name,))
    wanted = Filter.parse(places=places, container=[text])
    batch = closes(*({"cgroup": number} for number in CONTAINERS))
    mask = wanted.mask(batch.rows, batch.findings, CONTAINERS.get)
    assert [number for number, keep in zip(CONTAINERS, mask, strict=True) if keep] == expected


def test_families() -> None:
    assert kept(Filter.parse(four=True), V4, MAPPED, V6) == [True, True, False]
    assert kept(Filter.parse(six=True), V4, MAPPED, V6) == [False, False, True]
    assert Filter.parse(four=True, six=True) == Filter()


@pytest.mark.parametrize(
    "options",
    [
        {"abnormal": True, "verdict": ["orderly"]},
        {"abnormal": True, "verdict": ["!" + ",".join(v.code for v in VERDICTS if v.abnormal)]},
        {"verdict": ["orderly", "!orderly"]},
        {"verdict": ["!" + ",".join(verdict.code for verdict in VERDICTS)]},
        {"port": ["22", "!22"]},
        {"port": ["!1-65535"]},
        {"port": ["22"], "local_port": ["80"], "remote_port": ["443"]},
        {"local_port": ["80"], "port": ["!80"]},
        {"local_port": ["80", "!80"]},
        {"addr": ["10.1.2.3", "!10.0.0.0/8"]},
        {"addr": ["!0.0.0.0/0,::/0"]},
        {"addr": ["!0.0.0.0/1,128.0.0.0/1"], "four": True},
        {"addr": ["10.0.0.0/8"], "six": True},
        {"addr": ["2001:db8::/32"], "four": True},
        {"pid": ["7", "!7"]},
        {"comm": ["nginx", "!nginx"]},
        {"comm": ["!*"]},
        {"comm": ["a-name-of-16-byte*"]},
        {"netns": ["!all"]},
        {"netns": ["/proc/self/ns/net", "!/proc/self/ns/net"]},
        {"min_duration": "10s", "duration": 5.0},
    ],
    ids=str,
)
def test_filters_that_match_nothing_say_so(options: dict[str, Any]) -> None:
    duration = options.pop("duration", None)
    with pytest.raises(BadInput, match=r"can match nothing|can be seen living") as caught:
        check(Filter.parse(**options), duration)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"abnormal": True, "verdict": ["orderly", "peer-reset"]},
        {"port": ["22", "!80"], "local_port": ["22"]},
        {"port": ["22"], "local_port": ["80"]},
        {"addr": ["10.0.0.0/8", "!10.1.0.0/16"]},
        {"addr": ["!0.0.0.0/0"]},
        {"addr": ["10.0.0.0/8,2001:db8::/32"], "six": True},
        {"comm": ["*15-bytes-of-it*"]},
        {"comm": [r"\x1b[31m\x1b[2J\x07"]},
        {"comm": [r"\u202e\u202e\u202e*"]},
        {"comm": ["nginx", "!ng*"]},
        {"min_duration": "5s", "duration": 5.0},
    ],
    ids=str,
)
def test_filters_that_may_match_are_taken(options: dict[str, Any]) -> None:
    duration = options.pop("duration", None)
    check(Filter.parse(**options), duration)


def test_words_are_what_a_user_wrote() -> None:
    wanted = Filter.parse(netns=["/proc/self/ns/net"], port=["!22", "80,443"], four=True)
    wanted_words = ("--netns /proc/self/ns/net", "--port '!22'", "--port 80,443", "-4")
    assert wanted.words == wanted_words
