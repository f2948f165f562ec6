# SPDX-License-Identifier: Apache-2.0
"""``why``: one sentence in plain words for each record, with the numbers.

``plan`` gives each row the number of a template and the columns that fill it, so that a sink can
render thousands of rows of few templates; ``sentences`` renders them.

The number of a template is that of its sentence, and which alternative each of its places takes.
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event import fields
from tracetw.event.fields import Rows, State
from tracetw.event.names import KernelNames
from tracetw.event.record import MP_CONNECTION, MP_FALLBACK, MP_WENT_ON, T_ICMP, Layer
from tracetw.verdict.evidence import EVIDENCE_BIT
from tracetw.verdict.findings import Findings
from tracetw.verdict.missing import MISSING_BIT
from tracetw.verdict.sentences import SENTENCES
from tracetw.verdict.taxonomy import FIRST_CLOSE, FORMS, LIMITS, RESET_DIRECTIONS, VERDICT_INDEX


@dataclass(frozen=True, slots=True)
class Template:
    """A sentence with ``%`` places.

    Attributes:
        form: ASCII, safe inside a JSON string.
        columns: names in ``Why.columns``, in the order of the places.
    """

    form: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Why:
    """Sentences of a batch, not yet rendered.

    Attributes:
        template: number of each row's template, for ``template()``.
        columns: what the templates of this batch need, each of the batch's length.
    """

    template: NDArray[np.uint32]
    columns: dict[str, Sequence[Any] | NDArray[Any]]


@dataclass(frozen=True, slots=True)
class _Batch:
    rows: Rows
    findings: Findings
    names: KernelNames


_Which = NDArray[np.intp]
# All of a batch, without a copy of its rows.
_EVERY: Any = slice(None)
_Choice = Callable[[_Batch, _Which], NDArray[Any]]
_VARIANTS = 1024
"""Alternatives of one sentence: the product over its places."""
_FRAMES_AT = 24
"""What stands around the sentence: bits of a template's number from here on."""

_LATER_NS = 100_000_000
_PAIR, _FIN_WAIT2_TIME_WAIT = 0xFF, State.FIN_WAIT2 << 4 | State.TIME_WAIT
_TRIPLE = 0xFFF
_CLOSE_WAIT_LAST_ACK_CLOSE = State.CLOSE_WAIT << 8 | State.LAST_ACK << 4 | State.CLOSE
_UNIT = {
    "TCP_USER_TIMEOUT": " ms",
    "TCP_RTO_MAX": " ms",
    "tcp_fin_timeout": " s",
    "TCP_LINGER2": " s",
}
_RAN_OUT = {"TCP_RTO_MAX": "the back-off reached {}"}
"""How a limit ran out that is not used up."""
_PLACE = re.compile(r"\{(\w+)(?::([a-z ]+))?\}")

_SIGNALS = np.array([f"signal {number}" for number in range(128)], object)
for _signal in signal.Signals:
    _SIGNALS[_signal] = _signal.name
_ERRORS = np.array([fields.error_name(number) or "an error" for number in range(256)], object)
_BY_VERDICT: dict[int, list[int]] = {}
for _number, _sentence in enumerate(SENTENCES):
    _BY_VERDICT.setdefault(VERDICT_INDEX[_sentence.verdict], []).append(_number)


def _later(batch: _Batch, which: _Which) -> NDArray[np.int64]:
    """Time between the two FINs (ns), -1 unknown: in FIN_WAIT2, or in CLOSE_WAIT."""
    rows = batch.rows[["path", "at"]][which]
    path = rows["path"]
    mine = path & _PAIR == _FIN_WAIT2_TIME_WAIT
    theirs = path & _TRIPLE == _CLOSE_WAIT_LAST_ACK_CLOSE
    end = np.maximum(fields.depth(path) - 1 - theirs, 1)
    here = np.arange(len(rows))
    ended, began = (rows["at"][here, place].astype(np.int64) for place in (end, end - 1))
    known = (mine | theirs) & (began > 0) & (ended >= began)
    return np.where(known, ended - began, -1)


# Numbers and words of the rows asked for.
_COLUMNS: dict[str, _Choice] = {
    "unread": lambda batch, which: fields.bytes_unread(batch.rows[which]),
    "refused": lambda batch, which: batch.rows["refused"][which],
    "refused_for": lambda batch, which: refusal_reasons(batch.names)[
        batch.rows["refused_reason"][which]
    ],
    "unacked": lambda batch, which: fields.bytes_unacked(batch.rows[which]),
    "unsent": lambda batch, which: fields.unsent(batch.rows[which]),
    "retransmits": lambda batch, which: batch.rows["retransmits"][which],
    # Retransmissions of a FIN include the loss probe that comes before the first timeout.
    "again": lambda batch, which: np.maximum(
        batch.rows["fin_retrans"][which], batch.rows["retransmits"][which]
    ),
    "probes": lambda batch, which: batch.rows["probes_out"][which],
    "signal": lambda batch, which: _SIGNALS[batch.rows["exit_code"][which] & 127],
    "error": lambda batch, which: _ERRORS[batch.findings.error[which]],
    "limit_value": lambda batch, which: batch.findings.limit_value[which],
    "elapsed_s": lambda batch, which: batch.findings.limit_elapsed_ms[which] / 1000,
    "later_s": lambda batch, which: _later(batch, which) / 1_000_000_000,
    "ttl": lambda batch, which: batch.rows["ttl"][which],
    "rst_ttl": lambda batch, which: batch.rows["rst_ttl"][which],
    "icmp_from": lambda batch, which: np.array(
        fields.ipv4_texts(batch.rows["icmp_from"][which]), object
    ),
}

# Around the sentence, before it and behind it: of what MPTCP is concerned with, and what is known of who answered.
_FRAMES = (
    (Template("", ()), Template("", ())),
    (
        Template("The MPTCP connection of this subflow went on. The subflow itself: ", ()),
        Template("", ()),
    ),
    (Template("A subflow of an MPTCP connection. The subflow itself: ", ()), Template("", ())),
    (
        Template("", ()),
        Template(
            " Of what had come %d bytes were never read: MPTCP, fallen back to TCP, had taken them out of TCP's "
            "queue, so close() sent FIN and no RST.",
            ("unread",),
        ),
    ),
    (
        Template("", ()),
        Template(
            " The RST came with TTL %d, the peer's segment of the handshake with %d: a box on the way may have sent "
            "it, or the route has changed.",
            ("rst_ttl", "ttl"),
        ),
    ),
    (Template("", ()), Template(" The last ICMP error came from %s.", ("icmp_from",))),
)
_OTHER_TTL, _ICMP = 4, 5


def _frames(batch: _Batch) -> NDArray[np.uint32]:
    """Index in ``_FRAMES`` of each row, in place for its template's number."""
    rows, findings = batch.rows, batch.findings
    chosen = np.zeros(len(rows), np.uint32)
    ttl, rst_ttl = rows["ttl"], rows["rst_ttl"]
    received = findings.reset_direction == RESET_DIRECTIONS.index("received")
    chosen[received & (ttl > 0) & (rst_ttl > 0) & (ttl != rst_ttl)] = _OTHER_TTL
    chosen[((rows["traits"] & T_ICMP) != 0) & (findings.error > 0) & ~received] = _ICMP
    flags = rows["mptcp_flags"]
    subflow = (rows["layer"] == Layer.MPTCP) & (flags & MP_CONNECTION == 0)
    chosen[subflow] = np.where(flags[subflow] & MP_WENT_ON, 1, 2)
    fallen = np.flatnonzero(flags & MP_FALLBACK)
    if len(fallen):
        lost = fields.bytes_unread(rows[fallen]) > 0
        lost &= findings.verdict[fallen] == VERDICT_INDEX["orderly"]
        chosen[fallen[lost]] = 3
    return chosen << np.uint32(_FRAMES_AT)


# In the order of CLOSED_BY, after the one for all others.
_WHO = (
    Template("This side closed", ()),
    Template("The application closed", ()),
    Template("The process exited", ()),
    Template("The process died of %s", ("signal",)),
    Template("The process was killed for lack of memory", ()),
)
_BARE = (
    Template("A RST without the ACK flag", ()),
    Template("A RST without a timestamp", ()),
)
_REFUSED = (
    Template("", ()),
    Template("; 1 segment that came was refused", ()),
    Template("; %d segments that came were refused", ("refused",)),
    Template("; 1 segment that came was refused for %s", ("refused_for",)),
    Template("; %d segments that came were refused, the last for %s", ("refused", "refused_for")),
)


def _refusals(batch: _Batch, which: _Which) -> NDArray[Any]:
    """Index in ``_REFUSED``."""
    rows = batch.rows[["refused", "refused_reason"]][which]
    number = np.minimum(rows["refused"], 2)
    known = (number > 0) & (rows["refused_reason"] > 0)
    chosen: NDArray[np.uint8] = number + np.where(known, np.uint8(2), np.uint8(0))
    return chosen


@lru_cache(maxsize=4)
def _reason_table(reasons: tuple[tuple[int, str], ...]) -> NDArray[Any]:
    table = np.array([f"drop reason {number}" for number in range(256)], object)
    for number, name in reasons:
        table[number & 255] = name
    return table


def refusal_reasons(names: KernelNames) -> NDArray[Any]:
    """Names of ``enum skb_drop_reason``, of those that TCP itself gives (the lowest 256)."""
    return _reason_table(tuple((k, v) for k, v in names.drop_reasons.items() if 0 <= k <= 255))  # noqa: PLR2004


def _limit_texts() -> tuple[Template, ...]:
    """Two for each limit: with its value and without."""
    texts = []
    for name in LIMITS:
        shown = name or "its limit"
        form = _RAN_OUT.get(shown, "{} ran out")
        texts += [
            Template(form.format(f"{shown} (%d{_UNIT.get(shown, '')})"), ("limit_value",)),
            Template(form.format(shown), ()),
        ]
    texts[0] = texts[1]
    return tuple(texts)


def _elapsed_known(batch: _Batch, which: _Which) -> NDArray[Any]:
    return batch.findings.limit_elapsed_ms[which] >= 0


def _who(batch: _Batch, which: _Which) -> NDArray[Any]:
    """Index in ``_WHO``: 0 for whoever is not on this side."""
    closed_by = batch.findings.closed_by[which]
    return np.where(closed_by < len(_WHO) - 1, closed_by + np.uint8(1), np.uint8(0))


def _limit(batch: _Batch, which: _Which) -> NDArray[Any]:
    """Index in ``_limit_texts()``."""
    unknown = batch.findings.limit_value[which] < 0
    return batch.findings.limit[which] * np.uint8(2) + unknown


# Places with a choice that does not depend on a noun: the alternatives, and which one a row takes.
_PLACES: dict[str, tuple[tuple[Template, ...], _Choice]] = {
    "who": (_WHO, _who),
    "limit": (_limit_texts(), _limit),
    "over": ((Template("", ()), Template(" over %.1f s", ("elapsed_s",))), _elapsed_known),
    "silent": (
        (Template("", ()), Template(" after %.1f s of silence", ("elapsed_s",))),
        _elapsed_known,
    ),
    "later": (
        (Template("", ()), Template(" %.1f s later", ("later_s",))),
        lambda batch, which: _later(batch, which) >= _LATER_NS,
    ),
    "bare": (_BARE, lambda batch, which: _has(batch, which, "rst-without-timestamp")),
    "refused": (_REFUSED, _refusals),
    "error": (
        (Template("%s", ("error",)),),
        lambda _, which: np.zeros(len(which), np.uint8),
    ),
}


def _is_one(column: str, batch: _Batch, which: _Which) -> NDArray[Any]:
    one: NDArray[np.bool_] = _COLUMNS[column](batch, which) == 1
    return one


@lru_cache(maxsize=256)
def _places(number: int) -> tuple[tuple[tuple[Template, ...], _Choice], ...]:
    """Places of one sentence, in order."""
    found: list[tuple[tuple[Template, ...], _Choice]] = []
    for name, noun in _PLACE.findall(SENTENCES[number].text):
        if noun:
            many, one = (Template(f"%d {noun}{end}", (name,)) for end in ("s", ""))
            found.append(((many, one), partial(_is_one, name)))
        else:
            found.append(_PLACES[name])
    return tuple(found)


@lru_cache(maxsize=4096)
def template(number: int) -> Template:
    """A template by its number in ``Why.template``."""
    frame, number = divmod(number, 1 << _FRAMES_AT)
    sentence, variant = divmod(number, _VARIANTS)
    before, behind = _FRAMES[frame]
    columns: list[str] = list(before.columns)
    chosen = []
    for alternatives, _ in _places(sentence):
        variant, which = divmod(variant, len(alternatives))
        chosen.append(alternatives[which])
    parts = iter(chosen)

    def fill(_: re.Match[str]) -> str:
        part = next(parts)
        columns.extend(part.columns)
        return part.form

    text = _PLACE.sub(fill, SENTENCES[sentence].text)
    return Template(f"{before.form}{text}{behind.form}", (*columns, *behind.columns))


def _has(batch: _Batch, which: _Which, name: str) -> NDArray[np.bool_]:
    """Whether evidence is in the findings."""
    has: NDArray[np.bool_] = (batch.findings.evidence[which] & np.uint64(EVIDENCE_BIT[name])) != 0
    return has


def _condition(batch: _Batch, which: _Which, name: str) -> NDArray[np.bool_]:
    findings = batch.findings
    if name in EVIDENCE_BIT:
        return _has(batch, which, name)
    holds: NDArray[np.bool_]
    if name in FORMS:
        holds = findings.form[which] == FORMS.index(name)
        return holds
    kind, _, what = name.partition("-")
    if kind == "first":
        holds = findings.first_close[which] == FIRST_CLOSE.index(what)
    else:
        holds = (findings.missing[which] & np.uint32(MISSING_BIT[what])) != 0
    return holds


def _choose(batch: _Batch, left: _Which, chosen: NDArray[np.uint32]) -> None:
    """Sets the template of rows that have one verdict."""
    for number in _BY_VERDICT[int(batch.findings.verdict[left[0]])]:
        here = left
        if SENTENCES[number].when:
            holds = _condition(batch, left, SENTENCES[number].when[0])
            for name in SENTENCES[number].when[1:]:
                holds &= _condition(batch, left, name)
            here, left = left[holds], left[~holds]
            if not len(here):
                continue
        variant, radix = np.full(len(here), number * _VARIANTS, np.uint32), 1
        for alternatives, choice in _places(number):
            if len(alternatives) > 1:
                variant += choice(batch, here).astype(np.uint32) * np.uint32(radix)
            radix *= len(alternatives)
        chosen[here] = variant
        if here is left or not len(left):
            break


def plan(rows: Rows, findings: Findings, names: KernelNames) -> Why:
    """Chooses the sentence of each row of a batch and computes the columns that fill it."""
    chosen = np.zeros(len(rows), np.uint32)
    batch = _Batch(rows, findings, names)
    for verdict in np.flatnonzero(np.bincount(findings.verdict)).tolist():
        _choose(batch, np.flatnonzero(findings.verdict == verdict), chosen)
    if (rows["mptcp_flags"] | rows["rst_ttl"]).any() or (rows["traits"] & T_ICMP).any():
        chosen |= _frames(batch)
    numbers = np.unique(chosen).tolist()
    needed = {column for number in numbers for column in template(number).columns}
    return Why(chosen, {column: _COLUMNS[column](batch, _EVERY) for column in sorted(needed)})


def sentences(rows: Rows, findings: Findings, names: KernelNames) -> list[str]:
    """The sentence of each row. Python per row."""
    why = plan(rows, findings, names)
    values = {name: np.asarray(column).tolist() for name, column in why.columns.items()}
    texts = []
    for at, number in enumerate(why.template.tolist()):
        chosen = template(number)
        texts.append(chosen.form % tuple(values[column][at] for column in chosen.columns))
    return texts
