# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

import pytest

from tracetw.host.sysctl import concerns, read

HEALTHY = {
    "net.ipv4.tcp_abort_on_overflow": 0,
    "net.ipv4.tcp_fin_timeout": 60,
    "net.ipv4.tcp_keepalive_time": 7200,
    "net.ipv4.tcp_max_orphans": 65536,
    "net.ipv4.tcp_max_tw_buckets": 65536,
    "net.ipv4.tcp_orphan_retries": 0,
    "net.ipv4.tcp_retries2": 15,
    "net.ipv4.tcp_rfc1337": 0,
    "net.ipv4.tcp_timestamps": 1,
    "net.ipv4.tcp_tw_reuse": 2,
    "ports": 28232,
    "tw": 10,
    "orphan": 3,
}


def test_defaults_are_fine_and_absent_settings_are_no_concern() -> None:
    assert concerns(HEALTHY) == []
    assert concerns({}) == []


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"net.ipv4.tcp_tw_recycle": 1}, "net.ipv4.tcp_tw_recycle"),
        ({"net.ipv4.tcp_fin_timeout": 120}, "net.ipv4.tcp_fin_timeout"),
        ({"net.ipv4.tcp_fin_timeout": 2}, "net.ipv4.tcp_fin_timeout"),
        ({"net.ipv4.tcp_max_tw_buckets": 5000}, "net.ipv4.tcp_max_tw_buckets"),
        ({"tw": 60000}, "net.ipv4.tcp_max_tw_buckets"),
        ({"net.ipv4.tcp_retries2": 3}, "net.ipv4.tcp_retries2"),
        ({"net.ipv4.tcp_retries2": 20}, "net.ipv4.tcp_retries2"),
        ({"net.ipv4.tcp_orphan_retries": 12}, "net.ipv4.tcp_orphan_retries"),
        ({"orphan": 20000}, "net.ipv4.tcp_max_orphans"),
        ({"ports": 1000}, "net.ipv4.ip_local_port_range"),
        ({"net.ipv4.tcp_abort_on_overflow": 1}, "net.ipv4.tcp_abort_on_overflow"),
        (
            {"net.netfilter.nf_conntrack_tcp_timeout_established": 300},
            "net.ipv4.tcp_keepalive_time",
        ),
    ],
)
def test_each_change_is_one_concern_with_a_reason(changed: dict[str, int], name: str) -> None:
    (concern,) = concerns({**HEALTHY, **changed})
    assert concern.name == name
    assert concern.reason
    assert concern.advice


def test_no_timestamps() -> None:
    names = {concern.name for concern in concerns({**HEALTHY, "net.ipv4.tcp_timestamps": 0})}
    assert names == {"net.ipv4.tcp_timestamps", "net.ipv4.tcp_rfc1337"}


def test_reading(tmp_path: Path) -> None:
    ipv4 = tmp_path / "sys/net/ipv4"
    ipv4.mkdir(parents=True)
    (ipv4 / "tcp_retries2").write_text("15\n")
    (ipv4 / "tcp_tw_reuse").write_text("not a number\n")
    (ipv4 / "ip_local_port_range").write_text("32768\t60999\n")
    (tmp_path / "net").mkdir()
    text = "sockets: used 9\nTCP: inuse 5 orphan 1 tw 12 alloc 7 mem 1\nUDP: inuse 1 mem 0\n"
    (tmp_path / "net/sockstat").write_text(text)
    facts = read(tmp_path)
    assert facts == {"net.ipv4.tcp_retries2": 15, "ports": 28232, "tw": 12, "orphan": 1}
    assert read(tmp_path / "nowhere") == {}


def test_this_host_can_be_read() -> None:
    assert "net.ipv4.tcp_fin_timeout" in read()
