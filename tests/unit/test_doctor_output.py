# SPDX-License-Identifier: Apache-2.0
"""The audit as JSON and as text: the same order everywhere, a line for each row, 80 columns."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from tracetw.doctor import document
from tracetw.doctor.audit import HOST, Audit, AuditRow, Namespace
from tracetw.doctor.finding import Finding
from tracetw.doctor.observed import Facts
from tracetw.doctor.render import audit_text
from tracetw.doctor.setting import Meaning, clock, text
from tracetw.doctor.waits import WAITS
from tracetw.host.netns import Netns
from tracetw.host.quiet import AcceptQueue, Idle, Quiet
from tracetw.host.sysctld import Assignment
from tracetw.text import columns
from tracetw.verdict.timers import Wait

BAD = "a\x1b[31m\nb\u202e" + "x" * 300
VALUES = {setting.name: setting.default for setting in WAITS}


def namespace(label: str = HOST, **changed: int) -> Namespace:
    sysctls = {name: value for name, value in VALUES.items() if isinstance(value, tuple)}
    sysctls |= {f"net.ipv4.{name}": (value,) for name, value in changed.items()}
    idle = Idle("192.0.2.1", 1, "192.0.2.2", 2, False, False, 300, 7, 0)
    facts = Facts(
        sysctls=sysctls,
        counters={"TCPTimeouts": 5},
        listeners=(AcceptQueue("::", 80, True, 0, 128, 8, 0),),
        quiet=Quiet(1, 0, 1, 0, 0, (idle,)),
    )
    rows = tuple(
        AuditRow(
            each,
            facts.sysctls[each.name],
            each.usual(facts),
            each.means(facts, clock(facts, 250)),
            None,
        )
        for each in WAITS
    )
    finding = Finding(
        "net.ipv4.tcp_retries2", "3", "because", ("seen",), ("net.ipv4.tcp_retries2", "8")
    )
    return Namespace(label, Netns(5, None, 77, "/proc/77/ns/net"), facts, rows, (finding,))


def audit(*namespaces: Namespace) -> Audit:
    return Audit(250, namespaces, {7: "sshd (pid 5)"}, {})


def test_facts_survive_the_way_from_the_child() -> None:
    facts = namespace().facts
    assert Facts.of(json.loads(json.dumps(facts.plain()))) == facts


def test_two_hosts_differ_in_the_lines_that_differ() -> None:
    one = document.lines({"v": 1, "settings": document.settings(audit(namespace()))})
    other = document.lines(
        {"v": 1, "settings": document.settings(audit(namespace(tcp_syn_retries=3)))}
    )
    assert json.loads(one)["settings"][0]["name"] == "net.ipv4.tcp_retries2"
    different = [
        json.loads(line.rstrip(","))["name"]
        for line, twin in zip(one.splitlines(), other.splitlines(), strict=True)
        if line != twin
    ]
    # The linear ones say how long connect() takes, too.
    assert different == ["net.ipv4.tcp_syn_retries", "net.ipv4.tcp_syn_linear_timeouts"]


def test_a_setting_has_everything() -> None:
    row = document.settings(audit(namespace()))[0]
    assert list(row) == [
        "netns",
        "name",
        "value",
        "default",
        "unit",
        "changed",
        "set_by",
        "seconds",
        "means",
        "verdicts",
        "command",
        "price",
    ]
    assert row["seconds"]["unacknowledged_data"]["least"] == pytest.approx(937, abs=5)
    assert row["command"] == "sysctl -w net.ipv4.tcp_retries2=VALUE"


def test_commands_go_into_the_namespace_and_are_quoted() -> None:
    (finding,) = document.findings(audit(namespace("web")))
    assert finding["command"] == "nsenter --net=/proc/77/ns/net sysctl -w net.ipv4.tcp_retries2=8"
    named = replace(namespace("web"), where=Netns(5, "a b", None, "/run/netns/a b"))
    (finding,) = document.findings(audit(named))
    assert finding["command"].startswith("nsenter --net='/run/netns/a b' sysctl")
    ranged = named.change("net.ipv4.ip_local_port_range", "1 2")
    assert ranged.endswith("sysctl -w 'net.ipv4.ip_local_port_range=1 2'")


def test_an_endless_wait_is_null() -> None:
    endless = Wait(1.0, float("inf"))
    rows = tuple(replace(row, meaning=Meaning("", {"window": endless})) for row in namespace().rows)
    row = document.settings(audit(replace(namespace(), rows=rows)))[0]
    assert row["seconds"] == {"window": {"least": 1.0, "most": None}}


@pytest.mark.parametrize("wide", [False, True])
def test_text_fits_and_obeys_nobody(*, wide: bool) -> None:
    hostile = replace(
        namespace(BAD),
        rows=tuple(
            replace(row, assigned=Assignment(f"/etc/{BAD}", 3, BAD)) for row in namespace().rows
        ),
        findings=(Finding(BAD, BAD, BAD, (BAD,), (BAD, BAD), BAD),),
    )
    shown = audit_text(
        Audit(250, (hostile,), {8: BAD}, {BAD: BAD}), {"retransmit-exhausted": 3}, wide=wide
    )
    for line in shown.split("\n"):
        assert line.isprintable()
        assert columns(line) < 80, line
    if wide:
        assert "retransmit-exhausted 3 recorded" in shown.replace("\n    ", " ")


def test_namespaces_that_are_alike_are_shown_once() -> None:
    shown = audit_text(
        audit(namespace(), namespace("a"), namespace("b", tcp_retries2=8)), {}, wide=False
    )
    assert "settings of 2 network namespaces host, a\n" in shown
    assert "settings of network namespace b\n" in shown
    assert "8*" in shown


@pytest.mark.parametrize(
    ("time", "words"),
    [
        (0.204, "0.204 s"),
        (104.0, "104 s"),
        (937.0, "15.6 min"),
        (7875.0, "131 min"),
        (432_000.0, "120 h"),
        (float("inf"), "never"),
        (Wait(100.0, 104.0), "102 s"),
        (Wait(3.1, 6.7), "3.1 s to 6.7 s"),
    ],
)
def test_times(time: Wait | float, words: str) -> None:
    assert text(time) == words


def _documented(heading: str) -> list[str]:
    page = Path(__file__).parents[2] / "docs" / "doctor.md"
    section = page.read_text(encoding="utf-8").split(f"### {heading}\n", 1)[1].split("\n#", 1)[0]
    return re.findall(r"^\| `([^|]*)` \|", section, re.MULTILINE)


def test_the_fields_are_documented() -> None:
    assert _documented("settings") == list(document.settings(audit(namespace()))[0])
    assert _documented("findings") == list(document.findings(audit(namespace()))[0])
