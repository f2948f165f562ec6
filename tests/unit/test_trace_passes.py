# SPDX-License-Identifier: Apache-2.0
"""The filter of ``bpf/filter.h`` means what the filter in user space means, on rows of all kinds.

The header is compiled for this machine, and run over the same records with each filter's values.
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
from tracetw.stream.criteria import Criteria
from tracetw.stream.filter import Filter

ROWS = 4000
BPF = Path(__file__).resolve().parents[2] / "bpf"
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
_NEGATED: dict[str, dict[str, Any]] = {
    "not-port": {"port": ["!80,443"]},
    "not-local-port": {"local_port": ["!1-100"]},
    "not-remote-port": {"remote_port": ["!65535"], "port": ["400-65535"]},
    "not-v4": {"addr": ["!10.0.0.0/8"]},
    "not-v6": {"addr": ["!2001:db8::/32"]},
    "not-any-v4": {"addr": ["!0.0.0.0/0"]},
    "not-any-v6": {"addr": ["!::/0"]},
    "not-within": {"addr": ["10.0.0.0/8,2001:db8::/32", "!10.1.2.3,2001:db8::1"]},
    "not-everything": {"port": ["1-1000", "!443"], "addr": ["!fe80::/10,10.2.0.0/16"]},
    "four": {"four": True},
    "six": {"six": True},
    "six-not-local": {"six": True, "addr": ["!fe80::/10"]},
}
for _name, _options in _NEGATED.items():
    FILTERS[_name] = Filter.parse(**_options)
FILTERS["not-netns"] = Filter(unless=Criteria(netns=frozenset(NETNS[:2])))
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
    made["flags"] = record.F_CLOSED | np.where(rng.random(ROWS) < 0.9, record.F_ADDR, 0)
    made["family"] = np.where(rng.random(ROWS) < 0.5, 2, 10)
    for side in ("laddr", "raddr"):
        made[side] = addresses(rng, made["family"])
    ports = np.array([1, 79, 80, 81, 90, 91, 100, 101, 400, 443, 500, 501, 65534, 65535], np.uint16)
    for side in ("lport", "rport"):
        made[side] = ports[rng.integers(0, len(ports), ROWS)]
    made["netns"] = rng.choice(np.array([*NETNS, 1, 0xFFFFFFFF], np.uint32), ROWS)
    return made


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None:
        if os.environ.get("CI") == "true":
            pytest.fail("no C compiler in CI")
        pytest.skip("needs a C compiler")
    text = f"""
        typedef unsigned char u8, __u8; typedef unsigned short u16, __u16;
        typedef unsigned int u32, __u32; typedef int s32, __s32;
        typedef unsigned long long u64, __u64;
        #define AF_INET 2
        #define AF_INET6 10
        #define __always_inline inline
        #define FILTERED
        #define BPF_F_TABLE(...)
        #define GET(...) 0
        #define FIELD(...) 0
        #define bpf_ntohs(x) (x)
        #define bpf_probe_read_kernel(...)
        static struct {{ struct filter *(*lookup)(u32 *); }} filter;
        #include "{BPF}/record.h"
        #include "{BPF}/filter_values.h"
        #include "{BPF}/opaque.h"
        #include "{BPF}/filter.h"

        static struct filter *content;
        static struct filter *lookup(u32 *key) {{ return content; }}
        const int size = sizeof(struct filter);

        void whole(struct filter *f, struct close_record *r, u8 *out, int n)
        {{
                content = f;
                filter.lookup = lookup;
                for (int i = 0; i < n; i++)
                        out[i] = PASSES(r + i);
        }}

        void begun(struct filter *f, struct close_record *r, u8 *out, int n)
        {{
                for (int i = 0; i < n; i++) {{
                        struct ends e = {{ (u32 *)r[i].laddr, (u32 *)r[i].raddr, r[i].netns,
                                           r[i].lport, r[i].rport, r[i].family, 1 }};
                        out[i] = begun_passes(f, &e);
                }}
        }}
    """
    out = tmp_path_factory.mktemp("passes") / "passes.so"
    command = [compiler, "-Wall", "-Werror", "-Wno-unused-function", "-fno-strict-aliasing"]
    command += ["-shared", "-fPIC", "-x", "c", "-", "-o", str(out)]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(out))


def run(library: ctypes.CDLL, function: str, name: str, rows: NDArray[Any]) -> NDArray[np.bool_]:
    """What ``whole`` or ``begun`` says of each row with the values of a filter."""
    size = ctypes.c_int.in_dll(library, "size").value
    content = FILTERS[name].kernel().packed() or bytes(size)
    assert len(content) == size
    out = np.full(len(rows), 2, np.uint8)
    rows = np.ascontiguousarray(rows)
    where = [ctypes.c_void_p(array.ctypes.data) for array in (rows, out)]
    getattr(library, function)(content, *where, len(rows))
    return out.astype(np.bool_)


@pytest.mark.parametrize("name", FILTERS)
def test_kernel_and_user_space_want_the_same(
    library: ctypes.CDLL, rows: NDArray[Any], name: str
) -> None:
    out = run(library, "whole", name, rows)
    mask = FILTERS[name].mask(rows, None)
    # What has no address is in no network, and is not left out for one either.
    more = out & ~mask & (rows["flags"] & record.F_ADDR == 0)
    different = np.flatnonzero((out != mask) & ~more)
    shown = rows[different[:1]][["family", "laddr", "raddr", "lport", "rport", "netns"]]
    assert len(different) == 0, (len(different), shown)
    if name not in ("all", "widest"):
        assert 0 < mask.sum() < len(rows)


def test_no_condition_is_no_work() -> None:
    assert Filter().kernel().packed() == b""


def test_what_only_user_space_knows_lets_everything_through() -> None:
    wanted = Filter.parse(pid=["1"], comm=["nginx"], abnormal=True, min_duration="1s")
    assert wanted.kernel().packed() == b""


def test_thousands_of_values_are_left_to_user_space() -> None:
    """The map that the kernel compares with has room for some of each kind."""
    nets = [f"10.{number >> 8}.{number & 255}.0/25" for number in range(3000)]
    ports = ",".join(str(port) for port in range(1, 6000, 2))
    every: list[dict[str, Any]] = [
        {"addr": nets},
        {"addr": [f"!{net}" for net in nets]},
        {"port": [ports]},
    ]
    for options in every:
        assert Filter.parse(**options).kernel().packed() == b""


def test_thousands_of_networks_are_compared_at_once(rows: NDArray[Any]) -> None:
    """Of 3,000 networks one by one, and together."""
    rng = np.random.default_rng(7)
    texts = [
        f"{'.'.join(map(str, rng.integers(0, 256, 4)))}/{rng.integers(8, 33)}" for _ in range(2000)
    ]
    texts += [
        f"2001:db8:{rng.integers(0, 1 << 16):x}::/{rng.integers(33, 65)}" for _ in range(1000)
    ]
    wanted = Filter.parse(addr=texts)
    one_by_one = np.zeros(len(rows), np.bool_)
    for net in wanted.nets:
        one_by_one |= Filter(nets=(net,)).mask(rows, None)
    assert (wanted.mask(rows, None) == one_by_one).all()
    assert 0 < one_by_one.sum() < len(rows)


@pytest.mark.parametrize("name", FILTERS)
def test_what_may_still_pass_is_not_ruled_out(
    library: ctypes.CDLL, rows: NDArray[Any], name: str
) -> None:
    """What a connection that passes in the end looks like when it begins."""
    rows = rows[rows["flags"] & record.F_ADDR != 0]
    wanted = run(library, "whole", name, rows)
    begun = rows.copy()
    # connect(): no local port, perhaps no local address yet.
    begun["lport"] = 0
    assert not (wanted & ~run(library, "begun", name, begun)).any()
    begun["laddr"] = 0
    assert not (wanted & ~run(library, "begun", name, begun)).any()
    # A listener's child has addresses and a port of the listener, which may be those of somebody else.
    child = rows[::-1].copy()
    child["rport"], child["netns"] = 0, rows["netns"]
    assert not (wanted & ~run(library, "begun", name, child)).any()
    # As soon as all is known nothing else passes.
    whole = run(library, "begun", name, rows)
    known = (rows["laddr"] != 0).any(axis=1)
    assert (whole == wanted)[known].all()


def test_a_new_connection_to_an_excluded_port_is_ruled_out(
    library: ctypes.CDLL, rows: NDArray[Any]
) -> None:
    """The remote port is known while connect() looks for a local one; families are known with it."""
    begun = rows.copy()
    begun["lport"] = 0
    out = run(library, "begun", "not-port", begun)
    assert (out == ~np.isin(rows["rport"], (80, 443))).all()
    begun["rport"], begun["laddr"] = 0, 0
    assert run(library, "begun", "four", begun).all()
    assert run(library, "begun", "not-any-v4", begun).all()


def test_a_listeners_child_of_another_namespace_is_ruled_out(
    library: ctypes.CDLL, rows: NDArray[Any]
) -> None:
    child = rows.copy()
    child["rport"] = 0
    assert (run(library, "begun", "netns", child) == (rows["netns"] == NETNS[0])).all()
