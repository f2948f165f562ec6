# SPDX-License-Identifier: Apache-2.0
"""The signature of a record: all that decides its verdict, in a word of 64 bits.

A verdict depends on flags, states, the class of an error and on whether numbers are zero, never on
the numbers themselves. So ``signatures`` reduces each record to a word first, a dozen comparisons a batch,
and the rules judge words. A busy host has a few dozen of them.

The layout follows from ``facts.FACTS``: flags where the record has them, above them a bit for each
comparison (``Read``), at the top the class of each number (``Is``): 0, or the place of the fact that has
its value. A word is made and read in one process; no recording holds one.
"""

from __future__ import annotations

from functools import reduce
from operator import or_

import numpy as np
from numpy.typing import NDArray

from tracetw.event.fields import Rows
from tracetw.event.names import KernelNames
from tracetw.verdict.fact import Flag, Is, Read
from tracetw.verdict.facts import FACTS
from tracetw.verdict.records import Records

# Rows whose columns and comparisons stay in the processor's cache.
_AT_ONCE = 4096
_NUMBERS_AT = 48

_HOW = {fact.name: fact.how for fact in FACTS}
# Without the flags that no fact reads: so there are fewer different signatures.
_FLAGS = reduce(or_, (how.flag for how in _HOW.values() if isinstance(how, Flag)))
_READ = {name: how for name, how in _HOW.items() if isinstance(how, Read)}
_READ_AT = dict(zip(_READ, range(_FLAGS.bit_length(), 64), strict=False))
_NUMBERS: dict[str, dict[str, Is]] = {}
for _name, _how in _HOW.items():
    if isinstance(_how, Is):
        _NUMBERS.setdefault(_how.number, {})[_name] = _how
_CLASS = {name: at for facts in _NUMBERS.values() for at, name in enumerate(facts, 1)}
_CLASS_AT: dict[str, int] = {}
_lowest = 64
for _number, _facts in _NUMBERS.items():
    _lowest -= len(_facts).bit_length()
    _CLASS_AT[_number] = _lowest
if _lowest < _NUMBERS_AT or _FLAGS.bit_length() + len(_READ) > _lowest:
    raise ValueError("the facts do not fit into a word: 16 bits are for numbers, 64 for all")

_classes: tuple[KernelNames, dict[str, NDArray[np.uint16]]] | None = None


def _class_tables(names: KernelNames) -> dict[str, NDArray[np.uint16]]:
    """For each number the class of each of its values, in its place in the upper 16 bits of the word."""
    global _classes  # noqa: PLW0603 - one kernel a process, but for tests
    if _classes is None or _classes[0] is not names:
        numbers: dict[int | str, list[int]] = {}
        for reset_reason, called in names.reset_reasons.items():
            numbers.setdefault(called, []).append(reset_reason & 255)
        tables = {number: np.zeros(256, np.uint16) for number in _NUMBERS}
        for number, facts in _NUMBERS.items():
            for name, how in facts.items():
                for value in how.values:
                    found = [value] if isinstance(value, int) else numbers.get(value, [])
                    tables[number][found] = _CLASS[name] << (_CLASS_AT[number] - _NUMBERS_AT)
        # SK_RST_REASON_NOT_SPECIFIED, and no reason.
        tables["reason"][0] = 0
        _classes = names, tables
    return _classes[1]


def signatures(
    rows: Rows, names: KernelNames, gone: NDArray[np.bool_] | None
) -> NDArray[np.uint64]:
    """One word for each record; ``gone``: its network namespace is known to be gone."""
    tables = _class_tables(names)
    words = np.empty(len(rows), np.uint64)
    for first in range(0, len(rows), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        words[part] = _words(Records(rows[part], None if gone is None else gone[part]), tables)
    return words


def _words(records: Records, tables: dict[str, NDArray[np.uint16]]) -> NDArray[np.uint64]:
    """Of rows that stay in the processor's cache."""
    words: NDArray[np.uint64] = (records["flags"] & np.uint32(_FLAGS)).astype(np.uint64)
    bits = [how.holds(records).view(np.uint8) for how in _READ.values()]
    words |= _packed(bits) << np.uint64(_FLAGS.bit_length())
    classes = np.zeros(len(words), np.uint16)
    for number, table in tables.items():
        classes |= table.take(getattr(records, number))
    words |= classes.astype(np.uint64) << np.uint64(_NUMBERS_AT)
    return words


def _packed(bits: list[NDArray[np.uint8]]) -> NDArray[np.uint64]:
    """Columns of 0 and 1 as the bits of numbers, the first one lowest."""
    words = np.zeros((len(bits[0]), 8), np.uint8)
    for place, first in enumerate(range(0, len(bits), 8)):
        # Doubling: shifts take ten times as long.
        *lower, highest = bits[first : first + 8]
        byte = highest.copy()
        for bit in reversed(lower):
            np.add(byte, byte, out=byte)
            np.bitwise_or(byte, bit, out=byte)
        words[:, place] = byte
    return words.view("<u8")[:, 0]


class KnownFacts(dict[str, NDArray[np.bool_]]):
    """Every fact of ``FACTS`` about a column of signatures, a boolean column each, worked out when asked for."""

    def __init__(self, words: NDArray[np.uint64]) -> None:
        super().__init__()
        self._words = words

    def __missing__(self, name: str) -> NDArray[np.bool_]:
        how = _HOW[name]
        holds: NDArray[np.bool_]
        match how:
            case Flag():
                holds = (self._words & np.uint64(how.flag)) != 0
            case Read():
                holds = (self._words >> np.uint64(_READ_AT[name]) & np.uint64(1)) != 0
            case Is():
                mask = (1 << len(_NUMBERS[how.number]).bit_length()) - 1
                found = self._words >> np.uint64(_CLASS_AT[how.number]) & np.uint64(mask)
                holds = found == _CLASS[name]
            case str():
                holds = self._follows(how)
        self[name] = holds
        return holds

    def _follows(self, how: str) -> NDArray[np.bool_]:
        """From other facts: alternatives, of each of which all must hold."""
        any_ = np.zeros(len(self._words), np.bool_)
        for alternative in how.split("|"):
            every = np.ones(len(self._words), np.bool_)
            for term in alternative.split():
                every &= ~self[term[1:]] if term.startswith("!") else self[term]
            any_ |= every
        return any_
