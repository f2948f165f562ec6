# SPDX-License-Identifier: Apache-2.0
"""The filter as C means what the filter in user space means, on rows of all kinds.

Every expression is compiled into one library and run over the same records.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tracetw.event import record
from tracetw.kernel.filter import may_pass, passes
from tracetw.stream.filter import Filter

ROWS = 4000
HEADER = Path(__file__).resolve().parents[2] / "bpf" / "record.h"
MAPPED = bytes(10) + b"\xff\xff"
NETNS = (4026531840, 4026532001, 4026532002)
FILTERS: dict[str, Filter] = {
    "all": Filter(),
    "port": Filter(ports=((443, 443),)),
    "ports": Filter(ports=((80, 90), (443, 443))),
    "widest": Filter(ports=((1, 65535),)),
    "local-port": Filter(local_ports=((80, 80),)),
    "remote-port": Filter(remote_ports=((80, 80), (65535, 65535))),
    "both-ends": Filter(local_ports=((1, 100),), remote_ports=((400, 500),)),
    "netns": Filter(netns=frozenset(NETNS[:1])),
    "two-netns": Filter(netns=frozenset(NETNS[1:])),
}
for _name, _nets in {
    "v4-host": ["10.1.2.3"],
    "v4-net": ["10.0.0.0/8"],
    "v4-odd": ["10.1.0.0/15", "192.0.2.128/25", "10.1.2.2/31"],
    "v4-any": ["0.0.0.0/0"],
    "v6-host": ["2001:db8::1"],
    "v6-net": ["2001:db8::/32"],
    "v6-odd": ["2001:db8::/33", "fe80::/10", "2001:db8::/127"],
    "v6-any": ["::/0"],
    "both-families": ["10.1.2.0/24", "2001:db8::/64"],
    "mapped": ["::ffff:10.1.2.3"],
    "mapped-net": ["::ffff:10.0.0.0/104"],
    "low-v6": ["::/96"],
}.items():
    FILTERS[_name] = Filter.parse(addr=_nets)
FILTERS["everything"] = Filter.parse(
    port=["1-1000"], addr=["10.0.0.0/8", "2001:db8::/32"], remote_port=["80,443"]
)


def addresses(rng: np.random.Generator, family: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Of shape (n, 16): near the borders of the networks above, and anything."""
    known4 = np.array(
        [
            [10, 1, 2, 3],
            [10, 1, 2, 2],
            [10, 0, 0, 0],
            [10, 255, 255, 255],
            [11, 0, 0, 0],
            [10, 2, 0, 0],
            [192, 0, 2, 127],
            [192, 0, 2, 128],
            [0, 0, 0, 0],
            [255, 255, 255, 255],
        ],
        np.uint8,
    )
    known6 = np.zeros((8, 16), np.uint8)
    known6[:4, :4] = [0x20, 0x01, 0x0D, 0xB8]
    known6[1, 15] = 1
    known6[2, 4] = 0x80
    known6[3, 15] = 2
    known6[4, :2] = [0xFE, 0x80]
    known6[5, :2] = [0xFE, 0xC0]
    known6[6, 15] = 1
    n = len(family)
    four = np.where(
        rng.random((n, 1)) < 0.8,
        known4[rng.integers(0, len(known4), n)],
        rng.integers(0, 256, (n, 4), np.uint8),
    )
    six = np.where(
        rng.random((n, 1)) < 0.8,
        known6[rng.integers(0, len(known6), n)],
        rng.integers(0, 256, (n, 16), np.uint8),
    )
    mapped = rng.random(n) < 0.4
    six[mapped, :12] = np.frombuffer(MAPPED, np.uint8)
    six[mapped, 12:] = four[mapped]
    v4 = np.zeros((n, 16), np.uint8)
    v4[:, :4] = four
    return np.where((family == 2)[:, None], v4, six)


@pytest.fixture(scope="module")
def rows() -> NDArray[Any]:
    rng = np.random.default_rng(20240501)
    made = np.zeros(ROWS, record.CLOSE)
    made["flags"] = record.F_ADDR | record.F_CLOSED
    made["family"] = np.where(rng.random(ROWS) < 0.5, 2, 10)
    for side in ("laddr", "raddr"):
        made[side] = addresses(rng, made["family"])
    ports = np.array([1, 79, 80, 81, 90, 91, 100, 101, 400, 443, 500, 501, 65534, 65535], np.uint16)
    for side in ("lport", "rport"):
        made[side] = ports[rng.integers(0, len(ports), ROWS)]
    made["netns"] = rng.choice(np.array([*NETNS, 1, 0xFFFFFFFF], np.uint32), ROWS)
    return made


def is_mapped(rows: NDArray[Any]) -> NDArray[np.bool_]:
    """Has an IPv4-mapped address at one end."""
    prefix = np.frombuffer(MAPPED, np.uint8)
    ends = [(rows[side][:, :12] == prefix).all(axis=1) for side in ("laddr", "raddr")]
    mapped: NDArray[np.bool_] = (rows["family"] == 10) & (ends[0] | ends[1])
    return mapped


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no C compiler in CI")
        pytest.skip("needs a C compiler")
    text = [
        "typedef unsigned char u8, __u8; typedef unsigned short u16, __u16;",
        "typedef unsigned int u32, __u32; typedef int s32, __s32;",
        "typedef unsigned long long u64, __u64;",
        f'#include "{HEADER}"',
        "#define AF_INET 2",
        "#define AF_INET6 10",
    ]
    for number, wanted in enumerate(FILTERS.values()):
        for name, condition in (
            (f"f{number}", passes(wanted.kernel())),
            (f"may{number}", may_pass(wanted.kernel()) or "1"),
        ):
            text += [
                f"void {name}(struct close_record *rows, u8 *out, int n)",
                "{",
                "\tfor (int i = 0; i < n; i++) {",
                "\t\tstruct close_record *r = rows + i;",
                f"\t\tout[i] = {condition};",
                "\t}",
                "}",
            ]
    out = tmp_path_factory.mktemp("passes") / "passes.so"
    command = [compiler, "-Wall", "-Werror", "-Wno-unused-variable", "-fno-strict-aliasing"]
    command += ["-shared", "-fPIC", "-x", "c", "-", "-o", str(out)]
    done = subprocess.run(
        command, input="\n".join(text) + "\n", capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(out))


@pytest.mark.parametrize("name", FILTERS)
def test_kernel_and_user_space_want_the_same(
    library: ctypes.CDLL, rows: NDArray[Any], name: str
) -> None:
    number = [*FILTERS].index(name)
    out = np.full(len(rows), 2, np.uint8)
    getattr(library, f"f{number}")(
        ctypes.c_void_p(rows.ctypes.data), ctypes.c_void_p(out.ctypes.data), len(rows)
    )
    mask = FILTERS[name].mask(rows, None)
    # ::/0 holds IPv4-mapped addresses for the kernel; user space looks again.
    more = out.astype(bool) & ~mask & is_mapped(rows) if name == "v6-any" else np.False_
    different = np.flatnonzero((out.astype(bool) != mask) & ~more)
    shown = rows[different[:1]][["family", "laddr", "raddr", "lport", "rport", "netns"]]
    assert len(different) == 0, (len(different), shown)
    if name not in ("all", "widest"):
        assert 0 < mask.sum() < len(rows)


def test_no_condition_is_no_work() -> None:
    assert passes(Filter().kernel()) == "1"
    assert may_pass(Filter().kernel()) == ""


def test_what_only_user_space_knows_lets_everything_through() -> None:
    wanted = Filter.parse(pid=["1"], comm=["nginx"], abnormal=True, min_duration="1s")
    assert passes(wanted.kernel()) == "1"


def run(library: ctypes.CDLL, name: str, rows: NDArray[Any]) -> NDArray[np.bool_]:
    out = np.full(len(rows), 2, np.uint8)
    rows = np.ascontiguousarray(rows)
    getattr(library, name)(
        ctypes.c_void_p(rows.ctypes.data), ctypes.c_void_p(out.ctypes.data), len(rows)
    )
    return out.astype(np.bool_)


@pytest.mark.parametrize("name", FILTERS)
def test_what_may_still_pass_is_not_ruled_out(
    library: ctypes.CDLL, rows: NDArray[Any], name: str
) -> None:
    """What a connection that passes in the end looks like when it begins."""
    number = [*FILTERS].index(name)
    wanted = run(library, f"f{number}", rows)
    begun = rows.copy()
    # connect(): no local port, perhaps no local address yet.
    begun["lport"] = 0
    assert not (wanted & ~run(library, f"may{number}", begun)).any()
    begun["laddr"] = 0
    assert not (wanted & ~run(library, f"may{number}", begun)).any()
    # A listener's child has addresses and a port of the listener, which may be those of somebody else.
    child = rows[::-1].copy()
    child["rport"], child["netns"] = 0, rows["netns"]
    assert not (wanted & ~run(library, f"may{number}", child)).any()
    # As soon as all is known nothing else passes.
    whole = run(library, f"may{number}", rows)
    known = (rows["laddr"] != 0).any(axis=1)
    assert (whole == wanted)[known].all()


def test_a_listeners_child_of_another_namespace_is_ruled_out(
    library: ctypes.CDLL, rows: NDArray[Any]
) -> None:
    child = rows.copy()
    child["rport"] = 0
    number = [*FILTERS].index("netns")
    assert (run(library, f"may{number}", child) == (rows["netns"] == NETNS[0])).all()
