# SPDX-License-Identifier: Apache-2.0
"""Picking counters out of /proc/net/netstat and snmp."""

from __future__ import annotations

from tracetw.host.counters import COUNTERS, parse

NETSTAT = """\
TcpExt: SyncookiesSent TW TWRecycled TWKilled PAWSActive PAWSEstab TCPAbortOnData TCPAbortOnClose
TcpExt: 0 17 1 2 3 4 5 18446744073709551615
IpExt: InNoRoutes TW InOctets
IpExt: 9 99 1234
MPTcpExt: MPCapableSYNRX
MPTcpExt: 0
"""

SNMP = """\
Ip: Forwarding DefaultTTL
Ip: 2 64
Tcp: RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens EstabResets OutSegs RetransSegs OutRsts
Tcp: 1 200 120000 -1 18 7 1649 0 12
UdpLite: OutRsts
UdpLite: 5
"""


def test_values_come_from_their_own_group() -> None:
    assert parse(NETSTAT) == {
        "SyncookiesSent": 0,
        "TW": 17,
        "TWRecycled": 1,
        "TWKilled": 2,
        "PAWSActive": 3,
        "PAWSEstab": 4,
        "TCPAbortOnData": 5,
        "TCPAbortOnClose": 2**64 - 1,
    }
    assert parse(SNMP) == {"EstabResets": 7, "OutRsts": 12}


def test_other_counters_on_request() -> None:
    assert parse(SNMP, ["MaxConn", "RetransSegs"]) == {"MaxConn": -1, "RetransSegs": 0}


def test_what_a_kernel_lacks_is_absent() -> None:
    found = parse(NETSTAT)
    assert "PAWSTimewait" in COUNTERS
    assert "PAWSTimewait" not in found


def test_torn_and_empty_text() -> None:
    assert parse("") == {}
    assert parse("TcpExt: TW TWKilled\n") == {}
    assert parse("TcpExt: TW TWKilled\nTcpExt: 4") == {"TW": 4}
    assert parse("TcpExt: TW\nIpExt: 4\n") == {}
