# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pathlib import Path

from tracetw.host.sysctl import read


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
