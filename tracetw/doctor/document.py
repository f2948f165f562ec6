# SPDX-License-Identifier: Apache-2.0
"""The audit as JSON: one object, a line for each row, in the same order on every host.

``diff`` of two hosts then shows the settings in which they differ; what differs anyway, as counters and
sockets, stands apart from the settings.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tracetw.doctor.audit import Audit, AuditRow, Namespace
from tracetw.doctor.finding import Finding
from tracetw.doctor.setting import Setting
from tracetw.text import json_line
from tracetw.verdict.timers import Wait


def lines(document: Mapping[str, Any]) -> str:
    """A JSON object whose lists have one line for each element. ``json.loads`` takes it as any other."""
    parts = []
    for key, value in document.items():
        if isinstance(value, list) and value:
            rows = ",\n".join(f"  {json_line(row)}" for row in value)
            parts.append(f" {json_line(key)}: [\n{rows}\n ]")
        else:
            parts.append(f" {json_line(key)}: {json_line(value)}")
    return "{\n" + ",\n".join(parts) + "\n}"


def settings(audit: Audit) -> list[dict[str, Any]]:
    """A row for each namespace and setting that it has."""
    return [_setting(namespace, row) for namespace in audit.namespaces for row in namespace.rows]


def _setting(namespace: Namespace, row: AuditRow) -> dict[str, Any]:
    assigned = row.assigned
    return {
        "netns": namespace.label,
        "name": row.setting.name,
        "value": _number(row.value),
        "default": None if row.default is None else _number(row.default),
        "unit": row.setting.unit or None,
        "changed": None if row.default is None else row.value != row.default,
        "set_by": None
        if assigned is None
        else {"file": assigned.path, "line": assigned.line or None},
        "seconds": _seconds(row.meaning.waits),
        "means": row.meaning.text,
        "verdicts": list(row.setting.verdicts),
        "command": namespace.change(row.setting.name, "VALUE"),
        "price": row.setting.price,
    }


def findings(audit: Audit, recorded: Mapping[str, int] | None = None) -> list[dict[str, Any]]:
    """What is wrong. ``recorded``: connections by verdict, which are evidence too."""
    return [
        {
            "netns": namespace.label,
            "about": finding.about,
            "value": finding.value,
            "reason": finding.reason,
            "evidence": [
                *finding.evidence,
                *_counted(_verdicts(namespace, finding), recorded or {}),
            ],
            "verdicts": list(_verdicts(namespace, finding)),
            "command": namespace.command(finding),
            "advice": finding.advice or None,
            "price": _price(namespace, finding),
        }
        for namespace in audit.namespaces
        for finding in namespace.findings
    ]


def _setting_of(namespace: Namespace, finding: Finding) -> Setting | None:
    """The setting that a finding is about, else the one that would change it."""
    settings = {row.setting.name: row.setting for row in namespace.rows}
    changed = settings.get(finding.change[0]) if finding.change else None
    return settings.get(finding.about) or changed


def _verdicts(namespace: Namespace, finding: Finding) -> tuple[str, ...]:
    setting = _setting_of(namespace, finding)
    return finding.verdicts or (setting.verdicts if setting else ())


def _counted(verdicts: Sequence[str], recorded: Mapping[str, int]) -> list[str]:
    return [f"{code} {recorded[code]:,} recorded" for code in verdicts if recorded.get(code)]


def _price(namespace: Namespace, finding: Finding) -> str | None:
    settings = {row.setting.name: row.setting for row in namespace.rows}
    setting = settings.get(finding.change[0] if finding.change else finding.about)
    return setting.price if setting else None


def evidence(audit: Audit) -> list[dict[str, Any]]:
    """What the kernel counted in each namespace since it began, and what is there now."""
    found = []
    for namespace in audit.namespaces:
        facts = namespace.facts
        found.append(
            {
                "netns": namespace.label,
                "inode": namespace.where.inode,
                "counters": dict(sorted(facts.counters.items())),
                "sockets": dict(sorted(facts.sockets.items())),
                "routes_rto_min": [
                    {"to": route.destination, "ms": route.milliseconds} for route in facts.rto_mins
                ],
                "conntrack": None
                if facts.tracking is None
                else {
                    "entries": facts.tracking.entries,
                    "counters": dict(sorted(facts.tracking.counters.items())),
                    "drops_invalid": facts.tracking.drops_invalid,
                    "unknown": facts.tracking.unknown or None,
                },
                "connections": None
                if facts.quiet is None
                else {
                    "with_other_hosts": facts.quiet.connections,
                    "keepalive": facts.quiet.keepalive,
                    "idle_silent": facts.quiet.silent,
                    "idle_probed": facts.quiet.probed,
                    "idle_half_closed": facts.quiet.half_closed,
                },
                "missing": list(facts.missing),
            }
        )
    return found


def listeners(audit: Audit) -> list[dict[str, Any]]:
    """Every listener with its accept queue."""
    return [
        {
            "netns": namespace.label,
            "address": each.address,
            "port": each.port,
            "protocol": "mptcp" if each.mptcp else "tcp",
            "backlog": each.backlog,
            "waiting": each.waiting,
            "owner": audit.owners.get(each.inode),
            "uid": each.uid,
        }
        for namespace in audit.namespaces
        for each in namespace.facts.listeners
    ]


def idle(audit: Audit) -> list[dict[str, Any]]:
    """Connections with other hosts that were idle for the longest, some of each namespace."""
    return [
        {"netns": namespace.label, **each._asdict(), "owner": audit.owners.get(each.inode)}
        for namespace in audit.namespaces
        for each in (namespace.facts.quiet.longest if namespace.facts.quiet else ())
    ]


def unseen(audit: Audit) -> list[dict[str, str]]:
    """Namespaces of which nothing could be found."""
    return [{"netns": label, "reason": why} for label, why in sorted(audit.unseen.items())]


def _number(values: tuple[int, ...]) -> int | list[int]:
    return values[0] if len(values) == 1 else list(values)


def _seconds(waits: Mapping[str, Wait]) -> dict[str, dict[str, float | None]] | None:
    """``null`` inside for a wait without an end."""
    return {
        name: {"least": _finite(wait.least_s), "most": _finite(wait.most_s)}
        for name, wait in waits.items()
    } or None


def _finite(seconds: float) -> float | None:
    return None if math.isinf(seconds) else round(seconds, 3)
