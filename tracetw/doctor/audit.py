# SPDX-License-Identifier: Apache-2.0
"""All settings of all namespaces that were asked for, and what is wrong with them. It changes nothing."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tracetw.doctor.enter import look
from tracetw.doctor.finding import Finding, Seen
from tracetw.doctor.observed import Facts
from tracetw.doctor.paths import PATH_RULES, PATIENCE_S
from tracetw.doctor.places import PLACES
from tracetw.doctor.rules import RULES
from tracetw.doctor.setting import Meaning, Setting, clock
from tracetw.doctor.tracked import TRACKED
from tracetw.doctor.waits import WAITS
from tracetw.errors import BadInput, Failed
from tracetw.host import netns
from tracetw.host.clock import jiffies_per_second
from tracetw.host.holders import comm, holders
from tracetw.host.netns import Netns
from tracetw.host.sysctld import Assignment, assignments
from tracetw.text import decoded

SETTINGS = (*WAITS, *PLACES, *TRACKED)
"""In the order in which they are shown, which is the same on every host."""

HOST = "host"
"""What the namespace of process 1 is called; one that somebody has named so is known by its number."""

_ALSO = ("net.ipv4.tcp_early_retrans", "net.ipv4.tcp_ehash_entries")
_BY_NAME = {setting.name: setting for setting in SETTINGS}
_COUNTERS = sorted({name for setting in SETTINGS for name in setting.counters})


@dataclass(frozen=True, slots=True)
class AuditRow:
    """A setting of a namespace. ``assigned`` is what a file or the command line says, if it is in force."""

    setting: Setting
    value: tuple[int, ...]
    default: tuple[int, ...] | None
    meaning: Meaning
    assigned: Assignment | None


@dataclass(frozen=True, slots=True)
class Namespace:
    """What was found of one. ``label``: :data:`HOST` for that of process 1, else its name or inode number."""

    label: str
    where: Netns
    facts: Facts
    rows: tuple[AuditRow, ...]
    findings: tuple[Finding, ...]

    def command(self, finding: Finding) -> str | None:
        """The one command that would change it; None where no sysctl would."""
        if finding.change is None:
            return None
        name, value = finding.change
        return self.change(name, value)

    def change(self, name: str, value: str) -> str:
        """How to set a sysctl of this namespace, for a shell."""
        setting = _BY_NAME.get(name)
        inside = self.label != HOST and not (setting and setting.of_host)
        enter = f"nsenter --net={shlex.quote(self.where.path)} " if inside else ""
        return f"{enter}sysctl -w {shlex.quote(f'{name}={value}')}"


@dataclass(frozen=True, slots=True)
class Audit:
    """Of a host. ``unseen``: label of a namespace to the reason why nothing was found."""

    hz: int
    namespaces: tuple[Namespace, ...]
    owners: Mapping[int, str]
    unseen: Mapping[str, str]

    @property
    def wrong(self) -> bool:
        """Is there a finding?"""
        return any(namespace.findings for namespace in self.namespaces)


def audit(wanted: Iterable[int], *, nf_tables: bool) -> Audit:
    """The settings of the namespaces with these inodes; :data:`netns.ALL` for every one.

    ``nf_tables``: is it a part of the kernel? Needs root for any namespace but the caller's. Raises BadInput
    when nothing leads to one of them, Failed when one has gone meanwhile.
    """
    asked = set(wanted)
    there = netns.find()
    for inode in sorted(asked - {netns.ALL, *there}):
        raise BadInput(*netns.unreachable(inode))
    first = _inode_of_init()
    chosen = [each for each in there.values() if netns.ALL in asked or each.inode in asked]
    ordered = sorted(chosen, key=lambda each: _order(each, first))
    labels = {each.inode: _label(each, first) for each in ordered}
    looked = look(
        ordered,
        [*_BY_NAME, *_ALSO],
        _COUNTERS,
        idle_s=PATIENCE_S,
        nf_tables=nf_tables,
    )
    for inode in sorted(asked - {netns.ALL, *looked.facts, *looked.unseen}):
        raise Failed(*netns.gone(inode))
    hz = jiffies_per_second()
    owners = _owners([*looked.facts.values()])
    assigned = assignments(_BY_NAME)
    found = []
    for each in ordered:
        facts, label = looked.facts.get(each.inode), labels[each.inode]
        if facts is not None:
            of_boot = assigned if label == HOST else {}  # the files are those of process 1
            found.append(_judged(each, label, Seen(facts, clock(facts, hz), of_boot, owners)))
    unseen = {labels[inode]: why for inode, why in looked.unseen.items()}
    return Audit(hz, tuple(found), owners, unseen)


def _judged(where: Netns, label: str, seen: Seen) -> Namespace:
    findings = [finding for rule in (*RULES, *PATH_RULES) for finding in rule(seen)]
    return Namespace(label, where, seen.facts, tuple(_rows(seen)), tuple(findings))


def _rows(seen: Seen) -> Iterator[AuditRow]:
    for setting in SETTINGS:
        value = seen.facts.sysctls.get(setting.name)
        if value is None:
            continue
        assignment = seen.assigned.get(setting.name)
        in_force = assignment if assignment and assignment.matches(value) else None
        meaning = setting.means(seen.facts, seen.clock)
        yield AuditRow(setting, value, setting.usual(seen.facts), meaning, in_force)


def _owners(facts: Sequence[Facts]) -> dict[int, str]:
    """Names of the processes that hold listeners and idle connections, by socket."""
    inodes = {each.inode for one in facts for each in one.listeners}
    for one in facts:
        inodes |= {each.inode for each in (one.quiet.longest if one.quiet else ())}
    named = {}
    for inode, pids in holders(inodes - {0}).items():
        names = sorted({decoded(name) for pid in pids if (name := comm(pid)) is not None})
        if names:
            numbers = f" (pid {pids[0]})" if len(pids) == 1 else f" ({len(pids)} processes)"
            named[inode] = ", ".join(names) + numbers
    return named


def _inode_of_init() -> int:
    """The namespace of process 1, which sysctl.d is for; the caller's where it may not be seen."""
    try:
        return Path("/proc/1/ns/net").stat().st_ino
    except OSError:
        return netns.current()


def _label(each: Netns, first: int) -> str:
    if each.inode == first:
        return HOST
    return each.name if each.name and each.name != HOST else str(each.inode)


def _order(each: Netns, first: int) -> tuple[bool, bool, str, int]:
    """:data:`HOST` first, then by name, then those without one."""
    return each.inode != first, each.name is None, each.name or "", each.inode
