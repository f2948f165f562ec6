# SPDX-License-Identifier: Apache-2.0
"""Each finding of the audit, and next to it the facts under which there is none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tracetw.doctor.audit import SETTINGS
from tracetw.doctor.finding import Finding, Seen
from tracetw.doctor.observed import Facts
from tracetw.doctor.paths import PATH_RULES
from tracetw.doctor.recorded import advice, recorded
from tracetw.doctor.rules import RULES
from tracetw.doctor.setting import clock
from tracetw.host.firewall import Tracking
from tracetw.host.quiet import AcceptQueue, Idle, Quiet
from tracetw.host.sysctld import Assignment
from tracetw.verdict.taxonomy import VERDICTS

HEALTHY = {
    "net.core.somaxconn": 4096,
    "net.ipv4.tcp_abort_on_overflow": 0,
    "net.ipv4.tcp_ehash_entries": -131_072,
    "net.ipv4.tcp_fin_timeout": 60,
    "net.ipv4.tcp_keepalive_time": 7200,
    "net.ipv4.tcp_max_orphans": 65536,
    "net.ipv4.tcp_max_tw_buckets": 65536,
    "net.ipv4.tcp_orphan_retries": 0,
    "net.ipv4.tcp_retries2": 15,
    "net.ipv4.tcp_rfc1337": 0,
    "net.ipv4.tcp_rto_max_ms": 120_000,
    "net.ipv4.tcp_syncookies": 1,
    "net.ipv4.tcp_timestamps": 1,
    "net.ipv4.tcp_tw_reuse": 2,
    "net.netfilter.nf_conntrack_max": 1000,
    "net.netfilter.nf_conntrack_tcp_be_liberal": 0,
    "net.netfilter.nf_conntrack_tcp_timeout_close_wait": 60,
    "net.netfilter.nf_conntrack_tcp_timeout_established": 432_000,
}
PORTS = {"net.ipv4.ip_local_port_range": (32768, 60999)}
SOCKETS = {"tw": 10, "orphan": 3}
TRACKING = Tracking(10, {"invalid": 3}, False, "")
UNTRACKED = Tracking(0, {"invalid": 5000}, None, "nothing is tracked")
QUIET = Quiet(5, 3, 0, 0, 0, ())
OFF = Idle("192.0.2.1", 40000, "192.0.2.2", 443, False, False, 300, 7, 0)
ON = OFF._replace(keepalive=True, idle_s=700)
ROOM = AcceptQueue("192.0.2.1", 80, False, 0, 128, 8, 0)
LIBERAL = "net.netfilter.nf_conntrack_tcp_be_liberal"


def findings(
    changed: Mapping[str, int] = {},
    *,
    ports: Mapping[str, tuple[int, ...]] = PORTS,
    assigned: Mapping[str, Assignment] = {},
    **facts: Any,
) -> list[Finding]:
    sysctls = {name: (value,) for name, value in {**HEALTHY, **changed}.items()}
    given = {"sockets": SOCKETS, "quiet": QUIET, "tracking": TRACKING, **facts}
    known = Facts(sysctls={**sysctls, **ports}, **given)
    seen = Seen(known, clock(known, 250), assigned, {7: "sshd (pid 5)", 8: "nginx (pid 6)"})
    return [finding for rule in (*RULES, *PATH_RULES) for finding in rule(seen)]


def test_defaults_are_fine_and_unknown_facts_are_no_finding() -> None:
    assert findings() == []
    empty = Facts()
    seen = Seen(empty, clock(empty, 250), {}, {})
    assert [finding for rule in (*RULES, *PATH_RULES) for finding in rule(seen)] == []


@pytest.mark.parametrize(
    ("changed", "about", "change"),
    [
        ({"tcp_tw_recycle": 1}, "tcp_tw_recycle", "tcp_tw_recycle=0"),
        ({"tcp_fin_timeout": 120}, "tcp_fin_timeout", "tcp_fin_timeout=60"),
        ({"tcp_fin_timeout": 2}, "tcp_fin_timeout", "tcp_fin_timeout=15"),
        ({"tcp_max_tw_buckets": 5000}, "tcp_max_tw_buckets", "tcp_max_tw_buckets=65536"),
        ({"tcp_retries2": 3}, "tcp_retries2", "tcp_retries2=8"),
        ({"tcp_retries2": 20}, "tcp_retries2", "tcp_retries2=8"),
        ({"tcp_orphan_retries": 12}, "tcp_orphan_retries", "tcp_orphan_retries=0"),
        ({"tcp_rto_max_ms": 1000}, "tcp_rto_max_ms", "tcp_orphan_retries=8"),
        ({"tcp_abort_on_overflow": 1}, "tcp_abort_on_overflow", "tcp_abort_on_overflow=0"),
    ],
)
def test_settings(changed: Mapping[str, int], about: str, change: str) -> None:
    (finding,) = findings({f"net.ipv4.{name}": value for name, value in changed.items()})
    assert finding.about == f"net.ipv4.{about}"
    assert finding.change is not None
    assert "=".join(finding.change) == f"net.ipv4.{change}"
    assert finding.reason


@pytest.mark.parametrize(
    "changed",
    [
        {"tcp_retries2": 8},
        {"tcp_orphan_retries": 8},
        {"tcp_fin_timeout": 5},
        {"tcp_rto_max_ms": 1000, "tcp_orphan_retries": 8},
        {"tcp_rto_max_ms": 10_000},
        {"tcp_keepalive_time": 100_000},
        {"tcp_max_tw_buckets": 8192, "tcp_ehash_entries": 16_384},  # a small machine
    ],
)
def test_next_to_them(changed: Mapping[str, int]) -> None:
    assert findings({f"net.ipv4.{name}": value for name, value in changed.items()}) == []


def test_no_timestamps() -> None:
    found = findings({"net.ipv4.tcp_timestamps": 0})
    assert {each.about for each in found} == {"net.ipv4.tcp_timestamps", "net.ipv4.tcp_rfc1337"}


def test_what_runs_out() -> None:
    (ports,) = findings(ports={"net.ipv4.ip_local_port_range": (60000, 60999)})
    assert ports.change == ("net.ipv4.ip_local_port_range", "10240 65535")
    (buckets,) = findings(sockets={"tw": 60_000, "orphan": 3})
    assert (buckets.about, buckets.evidence) == (
        "net.ipv4.tcp_max_tw_buckets",
        ("60,000 are in use",),
    )
    (overflown,) = findings(counters={"TCPTimeWaitOverflow": 4})
    assert "TCPTimeWaitOverflow 4" in overflown.evidence
    (orphans,) = findings(sockets={"tw": 10, "orphan": 20_000})
    assert orphans.about == "net.ipv4.tcp_max_orphans"


def test_idle_connections() -> None:
    silent = QUIET._replace(silent=1, longest=(OFF,))
    (finding,) = findings(quiet=silent)
    assert (finding.about, finding.change) == ("SO_KEEPALIVE", None)
    assert "of the 1 that were idle the longest, held by sshd (pid 5): 1" in finding.evidence
    probed = QUIET._replace(probed=1, longest=(ON,))
    (finding,) = findings(quiet=probed)
    assert finding.change == ("net.ipv4.tcp_keepalive_time", "200")
    for name in ("Azure", "AWS", "Google"):
        assert name in finding.reason
    assert "IPVS" not in finding.reason  # nothing here has been idle for that long
    assert findings({"net.ipv4.tcp_keepalive_time": 200}, quiet=probed) == []


def test_connection_tracking() -> None:
    idle = {"net.netfilter.nf_conntrack_tcp_timeout_established": 300}
    (finding,) = findings(idle)
    assert finding.change == ("net.ipv4.tcp_keepalive_time", "150")
    assert findings(idle, tracking=UNTRACKED) == []
    half = QUIET._replace(half_closed=2)
    (finding,) = findings(quiet=half)
    assert finding.about.endswith("close_wait")
    assert findings(quiet=half, tracking=UNTRACKED) == []
    (finding,) = findings(tracking=Tracking(950, {}, None, ""))
    assert finding.change == ("net.netfilter.nf_conntrack_max", "2000")
    assert findings(tracking=Tracking(5, {"drop": 3}, None, "")) != []


@pytest.mark.parametrize(
    ("drops", "words"), [(True, "hangs"), (False, "RST"), (None, "not known (why)")]
)
def test_packets_out_of_the_window(*, drops: bool | None, words: str) -> None:
    many = Tracking(10, {"invalid": 1000}, drops, "why")
    (finding,) = findings(tracking=many)
    assert (finding.about, finding.change) == (LIBERAL, (LIBERAL, "1"))
    assert words in finding.reason
    assert findings({LIBERAL: 1}, tracking=many) == []
    assert findings(tracking=many._replace(counters={"invalid": 999})) == []


def test_accept_queues() -> None:
    assert findings(listeners=(ROOM,)) == []
    full = ROOM._replace(waiting=129)
    (finding,) = findings(listeners=(full,))
    assert "192.0.2.1 port 80, held by nginx (pid 6): 129 of 128 wait" in finding.evidence
    assert finding.change is None  # somaxconn is not what limits it
    assert finding.reason.startswith("the accept queue is nearly full")  # nobody was turned away
    (finding,) = findings(listeners=(full,), counters={"ListenOverflows": 5})
    assert finding.reason.startswith("connections found the accept queue full")
    (finding,) = findings(listeners=(full, ROOM._replace(backlog=4096)))
    assert finding.change is None  # the one that somaxconn limits has room
    capped = ROOM._replace(backlog=4096)
    (finding,) = findings(listeners=(capped,), counters={"ListenOverflows": 5})
    assert finding.change == ("net.core.somaxconn", "16384")
    assert "ListenOverflows 5" in finding.evidence
    assert findings({"net.ipv4.tcp_syncookies": 0}) == []
    (finding,) = findings({"net.ipv4.tcp_syncookies": 0}, counters={"TCPReqQFullDrop": 1})
    assert finding.change == ("net.ipv4.tcp_syncookies", "1")


def test_what_a_file_says_and_the_kernel_does_not() -> None:
    name = "net.ipv4.tcp_retries2"
    (finding,) = findings(assigned={name: Assignment("/etc/sysctl.d/9.conf", 3, "8")})
    assert finding.evidence == ("/etc/sysctl.d/9.conf:3 says 8",)
    assert findings(assigned={name: Assignment("/etc/sysctl.d/9.conf", 3, "15")}) == []
    assert findings(assigned={"net.ipv4.tcp_gone": Assignment("/x", 3, "8")}) == []
    assert finding.reason.endswith("will be after the next boot")
    name = "net.netfilter.nf_conntrack_max"
    (finding,) = findings(assigned={name: Assignment("/etc/sysctl.d/9.conf", 3, "8")})
    assert "nf_conntrack loads later" in finding.reason


def test_recordings_are_judged_by_the_same_rules() -> None:
    values = {**HEALTHY, "ports": 28232, "tw": 10, "orphan": 3}
    assert recorded(values, 250) == []
    (finding,) = recorded({**values, "tw": 65_000}, 250)
    assert advice(finding) == "set it to 131072"
    (finding,) = recorded({**values, "ports": 1000}, 250)
    assert finding.about == "net.ipv4.ip_local_port_range"
    assert finding.value == "1,000 ports"


def test_a_table_is_full_by_what_was_dropped_for_it_alone() -> None:
    clash = Tracking(10, {"drop": 7, "insert_failed": 7}, False, "")
    assert findings(tracking=clash) == []
    (finding,) = findings(tracking=Tracking(10, {"drop": 7, "early_drop": 5}, False, ""))
    assert finding.evidence[1] == (
        "7 packets were dropped for want of room, 5 entries were evicted for it"
    )


def test_settings_name_verdicts_that_there_are() -> None:
    codes = {verdict.code for verdict in VERDICTS}
    for setting in SETTINGS:
        assert set(setting.verdicts) <= codes, setting.name
        assert setting.price
        assert not setting.price.endswith(".")
    assert len({setting.name for setting in SETTINGS}) == len(SETTINGS)


def test_every_setting_means_something_whatever_its_value() -> None:
    for value in (0, 1, 2, 3, 255, 2**31 - 1):
        sysctls = {setting.name: (value, value) for setting in SETTINGS}
        facts = Facts(sysctls={**sysctls, "net.ipv4.tcp_rto_max_ms": (max(value, 1000),)})
        for setting in SETTINGS:
            setting.means(facts, clock(facts, 250))


def test_the_timers_are_those_of_the_namespace() -> None:
    values = {"tcp_rto_max_ms": 5000, "tcp_rto_min_us": 40_000, "tcp_early_retrans": 0}
    facts = Facts(sysctls={f"net.ipv4.{name}": (value,) for name, value in values.items()})
    of_facts = clock(facts, 250)
    assert (of_facts.rto_max_s, of_facts.rto_s, of_facts.loss_probe) == (5.0, 0.044, False)
    older = clock(Facts(), 1000)  # a kernel without these settings
    assert (older.rto_max_s, older.rto_s, older.loss_probe) == (120.0, 0.201, True)
