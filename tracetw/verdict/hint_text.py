# SPDX-License-Identifier: Apache-2.0
"""What hints add to ``why``: templates and the columns that fill them, as ``explain`` has them for verdicts."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event import fields, measures
from tracetw.event.fields import Rows
from tracetw.event.names import KernelNames
from tracetw.verdict.explain import Template
from tracetw.verdict.findings import Findings
from tracetw.verdict.hinted import LOCAL, RST_RECEIVED, quiet
from tracetw.verdict.hints import HINT_BIT, HINTS
from tracetw.verdict.taxonomy import FORMS, VERDICTS

_TIMEOUT = FORMS.index("timeout")
_TWO_RTO_MIN_MS = 400
_PLACE = re.compile(r"\{(\w+)\}")
_CODES: NDArray[Any] = np.array(["unknown"] * 256, object)
_CODES[: len(VERDICTS)] = [verdict.code for verdict in VERDICTS]
COLUMNS: dict[str, Callable[[Rows, Findings, KernelNames], NDArray[Any]]] = {
    "quiet_s": lambda rows, _, names: quiet(rows, names) / 1000,
    "before_s": lambda rows, findings, names: before_ms(rows, findings, names) / 1000,
    "sent_s": lambda rows, _, names: measures.since_sent_ms(rows, names) / 1000,
    "received_s": lambda rows, _, names: measures.since_received_ms(rows, names) / 1000,
    "later_s": lambda rows, _, __: fields.teardown_ns(rows) / 1_000_000_000,
    "sent": lambda rows, _, __: fields.bytes_sent(rows),
    "unread": lambda rows, _, __: fields.bytes_unread(rows),
    "unacked": lambda rows, _, __: fields.bytes_unacked(rows),
    "peer_verdict": lambda _, findings, __: _CODES[findings.peer_verdict],
    "mss": lambda rows, _, __: measures.mss(rows),
}
_OF_MASK = {bit: hint for hint, bit in zip(HINTS, HINT_BIT.values(), strict=True)}


def before_ms(rows: Rows, findings: Findings, names: KernelNames) -> NDArray[np.int64]:
    """How long nothing of the peer came, at least, before what met silence was sent, or before the RST; -1 unknown.

    Data that only this side sends is acknowledged, so it is no such time either. Of a time-out the kernel keeps when it
    repeated first (retrans_stamp); a loss probe and a first timeout may lie before that, which is the first doubled one.
    """
    silent = findings.form == _TIMEOUT
    waited = findings.limit_elapsed_ms
    first = np.maximum(fields.jiffies_to_ms(rows["rto"], names) >> rows["backoff"], _TWO_RTO_MIN_MS)
    before = measures.idle_ms(rows, names) - np.where(silent, waited + first, 0)
    known = (measures.since_received_ms(rows, names) >= 0) & (~silent | (waited >= 0))
    return np.where(known, np.maximum(before, -1), -1)


@lru_cache(maxsize=1024)
def phrase(mask: int, first_close: int, form: int) -> Template:
    """The sentences of these hints, each with a space in front.

    Args:
        mask: of ``Findings.hints``.
        first_close: index in ``FIRST_CLOSE``.
        form: index in ``FORMS``, or ``UNKNOWN``.
    """
    text, used = "", []
    for bit, hint in _OF_MASK.items():
        if mask & bit:
            chosen = _chosen(hint.phrases, first_close, form)
            used += _PLACE.findall(chosen)
            text += " " + _PLACE.sub(lambda place: _form(place[1]), chosen)
    return Template(text, tuple(used))


def _chosen(phrases: dict[str, str], first_close: int, form: int) -> str:
    if "" in phrases:
        return phrases[""]
    # A RST after our FIN: we were first.
    if form == RST_RECEIVED and first_close != LOCAL and "reset" in phrases:
        return phrases["reset"]
    return phrases["local" if first_close == LOCAL else "remote"]


def _form(column: str) -> str:
    if column == "peer_verdict":
        return "%s"
    return "%.1f s" if column.endswith("_s") else "%d"


def columns(rows: Rows, findings: Findings, names: KernelNames) -> dict[str, NDArray[Any]]:
    """What the phrases of this batch need, of every row; empty without hints."""
    masks = np.unique(findings.hints[findings.hints != 0]).tolist()
    needed = {
        name
        for mask in masks
        for bit, hint in _OF_MASK.items()
        if mask & bit
        for text in hint.phrases.values()
        for name in _PLACE.findall(text)
    }
    return {name: COLUMNS[name](rows, findings, names) for name in sorted(needed)}


def sentences(rows: Rows, findings: Findings, names: KernelNames) -> list[str]:
    """The phrases of each row, empty without hints. Python per row that has one."""
    texts = [""] * len(rows)
    values = columns(rows, findings, names)
    for at in np.flatnonzero(findings.hints).tolist():
        said = phrase(
            int(findings.hints[at]), int(findings.first_close[at]), int(findings.form[at])
        )
        texts[at] = said.form % tuple(values[name][at] for name in said.columns)
    return texts
