# SPDX-License-Identifier: Apache-2.0
"""The audit as text of 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence

from tracetw.doctor.audit import Audit, AuditRow, Namespace
from tracetw.doctor.document import findings
from tracetw.text import clip, padded, visible

__all__ = ["audit_text"]

WIDTH = 79
_NAME, _VALUE, _DEFAULT = 27, 11, 8
_SHORT = (
    ("net.ipv4.", ""),
    ("net.netfilter.nf_conntrack_", "ct "),
    ("net.core.", "core."),
    ("net.mptcp.", "mptcp."),
)
_MANY = 60


def audit_text(audit: Audit, recorded: Mapping[str, int], *, wide: bool) -> str:
    """Settings of each namespace, alike ones together, then what is wrong.

    ``recorded``: connections by verdict, of recordings. ``wide``: everything that is known of a setting.
    """
    parts: list[str] = []
    for group in _alike(audit.namespaces):
        parts += _settings(group, recorded, wide=wide)
    parts += [
        _paragraph(f"network namespace {label} was not looked at: {why}", "", "  ")
        for label, why in sorted(audit.unseen.items())
    ]
    parts += _mptcp(audit)
    parts += list(_findings(audit, recorded))
    return "\n".join(parts)


def _alike(namespaces: Sequence[Namespace]) -> list[list[Namespace]]:
    """Namespaces with the same settings, in the order of the first of each."""
    groups: dict[tuple[tuple[str, tuple[int, ...]], ...], list[Namespace]] = {}
    for namespace in namespaces:
        key = tuple((row.setting.name, row.value) for row in namespace.rows)
        groups.setdefault(key, []).append(namespace)
    return list(groups.values())


def _settings(
    group: Sequence[Namespace], recorded: Mapping[str, int], *, wide: bool
) -> Iterator[str]:
    labels = ", ".join(visible(namespace.label) for namespace in group[:_MANY])
    more = f" and {len(group) - _MANY:,} more" if len(group) > _MANY else ""
    noun = "network namespace" if len(group) == 1 else f"{len(group):,} network namespaces"
    yield _paragraph(f"settings of {noun} {labels}{more}", "", "  ")
    yield ""
    if not wide:
        yield _row("setting", "value", "default", "what it means here")
        yield " ".join("-" * width for width in (_NAME, _VALUE, _DEFAULT, _MEANS))
    for row in group[0].rows:
        if wide:
            yield from _block(group, row, recorded)
        else:
            star = "*" if row.default is not None and row.value != row.default else ""
            yield _row(
                _short(row.setting.name), _value(row.value) + star, _usual(row), row.meaning.text
            )
    yield ""


_MEANS = WIDTH - _NAME - _VALUE - _DEFAULT - 3


def _row(name: str, value: str, default: str, means: str) -> str:
    lines = textwrap.wrap(means, _MEANS) or [""]
    names = textwrap.wrap(name, _NAME) or [""]
    values, defaults = textwrap.wrap(value, _VALUE), textwrap.wrap(default, _DEFAULT)
    height = max(map(len, (lines, names, values, defaults)))
    columns = [
        [
            padded(clip(visible(text), width), width)
            for text in [*texts, *[""] * (height - len(texts))]
        ]
        for texts, width in (
            (names, _NAME),
            (values, _VALUE),
            (defaults, _DEFAULT),
            (lines, _MEANS),
        )
    ]
    return "\n".join(" ".join(cells).rstrip() for cells in zip(*columns, strict=True))


def _block(group: Sequence[Namespace], row: AuditRow, recorded: Mapping[str, int]) -> Iterator[str]:
    setting, namespace = row.setting, group[0]
    unit = f" {setting.unit}" if setting.unit else ""
    yield f"{setting.name} = {_value(row.value)}{unit} (default {_usual(row) or 'unknown'})"
    yield _paragraph(row.meaning.text, "    ")
    if row.assigned is not None:
        where = f":{row.assigned.line}" if row.assigned.line else ""
        yield _paragraph(f"set by: {row.assigned.path}{where}", "    ")
    if setting.verdicts:
        yield _paragraph(f"decides about: {', '.join(setting.verdicts)}", "    ")
    counted = [
        f"{name} {namespace.facts.counters[name]:,}"
        for name in setting.counters
        if name in namespace.facts.counters
    ]
    counted += [
        f"{code} {recorded[code]:,} recorded" for code in setting.verdicts if code in recorded
    ]
    if counted:
        yield _paragraph(f"seen here: {', '.join(counted)}", "    ")
    yield _paragraph(f"to change it: {namespace.change(setting.name, 'VALUE')}", "    ")
    yield _paragraph(f"price: {setting.price}", "    ")


def _mptcp(audit: Audit) -> Iterator[str]:
    for namespace in audit.namespaces:
        for each in namespace.facts.listeners:
            if each.mptcp:
                owner = audit.owners.get(each.inode, "an unknown process")
                yield _paragraph(
                    f"{namespace.label}: {owner} listens on port {each.port} with MPTCP: its"
                    " connections with MPTCP clients are several of TCP, closed by the kernel",
                    "",
                    "  ",
                )
                yield ""


def _findings(audit: Audit, recorded: Mapping[str, int]) -> Iterator[str]:
    found = findings(audit, recorded)
    if not found:
        yield (
            "findings: none in what was looked at"
            if audit.unseen
            else "findings: none, nothing looks wrong for what this host does"
        )
        return
    yield f"findings: {len(found)}"
    for number, each in enumerate(found, 1):
        yield ""
        yield _paragraph(f"{number}. {each['netns']}: {each['about']} = {each['value']}", "", "   ")
        yield _paragraph(each["reason"], "   ")
        for seen in each["evidence"]:
            yield _paragraph(f"seen: {seen}", "   ", "     ")
        if each["command"]:
            yield _paragraph(f"change: {each['command']}", "   ", "     ")
        if each["advice"]:
            yield _paragraph(f"advice: {each['advice']}", "   ", "     ")
        if each["verdicts"]:
            yield _paragraph(f"decides about: {', '.join(each['verdicts'])}", "   ", "     ")
        if each["price"]:
            yield _paragraph(f"price: {each['price']}", "   ", "     ")


def _paragraph(text: str, first: str, rest: str | None = None) -> str:
    return textwrap.fill(
        visible(text),
        WIDTH,
        initial_indent=first,
        subsequent_indent=first if rest is None else rest,
        break_on_hyphens=False,
    )


def _short(name: str) -> str:
    for prefix, instead in _SHORT:
        if name.startswith(prefix):
            return instead + name[len(prefix) :]
    return name


def _value(values: tuple[int, ...]) -> str:
    return " ".join(map(str, values))


def _usual(row: AuditRow) -> str:
    return "" if row.default is None else _value(row.default)
