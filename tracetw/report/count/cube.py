# SPDX-License-Identifier: Apache-2.0
"""Counting by key, in batches: exact, vectorised, in bounded memory.

A ``Cube`` holds one cell for each different key seen: how many rows had it, the first and the last
time, and the last time that anything was heard from the peer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count, cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.report.count.slots import Slots

NEVER = np.iinfo(np.int64).min
"""A time that did not occur."""

_WORD = 8
_MEASURES = (("count", "<i8"), ("first", "<i8"), ("last", "<i8"), ("heard", "<i8"))
_PENDING = 8


@dataclass(frozen=True, slots=True)
class Groups:
    """Rows in groups of equal keys.

    Attributes:
        order: indexes of all rows, group after group, in each group in their old order.
        starts: where in ``order`` each group begins; none is empty.
    """

    order: NDArray[np.intp]
    starts: NDArray[np.intp]

    @property
    def sizes(self) -> NDArray[np.intp]:
        """Rows of each group."""
        return np.diff(self.starts, append=len(self.order))

    @property
    def firsts(self) -> NDArray[np.intp]:
        """The first row of each group."""
        return self.order[self.starts]

    def rank(self) -> NDArray[np.intp]:
        """Of each row in its old place: how many rows of its group came before it."""
        rank = np.empty(len(self.order), np.intp)
        rank[self.order] = np.arange(len(self.order)) - np.repeat(self.starts, self.sizes)
        return rank

    def inverse(self) -> NDArray[np.intp]:
        """Of each row in its old place: the number of its group."""
        group_of = np.empty(len(self.order), np.intp)
        group_of[self.order] = np.repeat(np.arange(len(self.starts)), self.sizes)
        return group_of


def group(keys: NDArray[Any]) -> Groups:
    """Groups equal ``keys``: structured, shape (n,), an item a multiple of 8 bytes, padding zero."""
    words = np.ascontiguousarray(keys).view("<u8").reshape(len(keys), keys.itemsize // _WORD)
    for salt in count(1):  # two different keys of one hash are found, then another hash is taken
        mixed = _hash(words, salt)
        order = np.argsort(mixed, kind="stable")
        hashes = mixed[order]
        fresh = np.ones(len(keys), np.bool_)
        fresh[1:] = hashes[1:] != hashes[:-1]
        starts = np.flatnonzero(fresh)
        if words.shape[1] > 1:
            ordered = words[order]
            same = (ordered[1:] == ordered[:-1]).all(axis=1)
            if not (same | fresh[1:]).all():
                continue
        return Groups(order, starts)
    raise AssertionError  # pragma: no cover - count() does not end


def _hash(words: NDArray[np.uint64], salt: int) -> NDArray[np.uint64]:
    """64 bits of each row of words; one word is its own hash."""
    if words.shape[1] == 1:
        return words[:, 0]
    random = np.random.default_rng(salt)
    odd = random.integers(0, 1 << 63, words.shape[1], np.uint64) << np.uint64(1) | np.uint64(1)
    mixed = np.zeros(len(words), np.uint64)
    for column, factor in enumerate(odd):
        mixed ^= words[:, column] * factor
        mixed ^= mixed >> np.uint64(29)
        mixed *= np.uint64(0x9E3779B97F4A7C15)
    return mixed


class Cube:
    """Cells by key.

    Args:
        key: dtype of a key; its size is a multiple of 8 bytes.
        limit: cells kept; beyond it keys lose detail.
        folds: ways to make keys coarser, in the order in which they are tried. Each takes the cells
            and changes their keys in place.
        once: so many of them are used once; the others, in their order, whenever it is too full.
    """

    def __init__(
        self,
        key: np.dtype[Any],
        limit: int,
        folds: Sequence[Callable[[NDArray[Any]], None]],
        once: int = 0,
    ) -> None:
        self._key = key
        names = key.names or ()
        self._dtype = np.dtype([*((name, key[name]) for name in names), *_MEASURES])
        self._limit = limit
        self._folds = folds
        self._once = once
        self._step = 0
        self._held = _Part(np.zeros(0, key), np.zeros((0, len(_MEASURES)), np.int64))
        self._pending: list[_Part] = []

    @property
    def folded(self) -> int:
        """How many times keys lost detail."""
        return self._step

    def add(
        self, keys: NDArray[Any], at: NDArray[np.int64], heard: NDArray[np.int64] | None = None
    ) -> None:
        """Count rows.

        Args:
            keys: of the dtype of the cube, shape (n,).
            at: time of each row.
            heard: when each row last heard from its peer; ``NEVER`` unknown.
        """
        if not len(keys):
            return
        measures = np.empty((len(keys), len(_MEASURES)), np.int64)
        measures[:, 0] = 1
        measures[:, 1] = measures[:, 2] = at
        measures[:, 3] = NEVER if heard is None else heard
        self._pending.append(_Part(keys, measures).merged())
        waiting = sum(len(part.keys) for part in self._pending)
        if waiting > max(len(self._held.keys), self._limit // _PENDING):
            self._settle()

    def cells(self) -> NDArray[Any]:
        """All cells, in no particular order: the fields of the key and the measures."""
        self._settle()
        return self._structured()

    def move(self, ahead: NDArray[np.int64], slots: Slots | None = None) -> None:
        """Times of each cell by another clock; its key has the field ``source``.

        Args:
            ahead: how far the clock of each source is ahead of that one.
            slots: of the field ``slot``, if the key has it.
        """
        self._settle()
        keys, measures = self._held.keys, self._held.measures
        by = ahead[keys["source"]]
        for place in (1, 2, 3):
            known = measures[:, place] != NEVER
            measures[known, place] -= by[known]
        if slots is not None and len(keys):
            keys["slot"] = slots.of(measures[:, 1])
            self._held = self._held.merged()

    def _structured(self) -> NDArray[Any]:
        cells = np.empty(len(self._held.keys), self._dtype)
        for name in self._key.names or ():
            cells[name] = self._held.keys[name]
        for place, (name, _) in enumerate(_MEASURES):
            cells[name] = self._held.measures[:, place]
        return cells

    def _settle(self) -> None:
        if self._pending:
            self._held = _Part.joined([self._held, *self._pending]).merged()
            self._pending = []
        again = cycle(self._folds[self._once :])
        while len(self._held.keys) > self._limit:
            fold = self._folds[self._step] if self._step < self._once else next(again)
            cells = self._structured()
            fold(cells)
            self._step += 1
            for name in self._key.names or ():
                self._held.keys[name] = cells[name]
            self._held = self._held.merged()


@dataclass(frozen=True, slots=True)
class _Part:
    """Keys, and the measures of each in the order of ``_MEASURES``."""

    keys: NDArray[Any]
    measures: NDArray[np.int64]

    @staticmethod
    def joined(parts: Sequence[_Part]) -> _Part:
        """One after the other. As opaque blocks: field by field takes several times as long."""
        opaque = np.dtype(f"V{parts[0].keys.itemsize}")
        keys = np.concatenate([part.keys.view(opaque) for part in parts])
        measures = np.concatenate([part.measures for part in parts])
        return _Part(keys.view(parts[0].keys.dtype), measures)

    def merged(self) -> _Part:
        """Each key once."""
        groups = group(self.keys)
        opaque = self.keys.view(np.dtype(f"V{self.keys.itemsize}"))
        keys = opaque[groups.firsts].view(self.keys.dtype)
        if len(groups.starts) == len(self.keys):
            return _Part(keys, self.measures[groups.order])
        ordered = self.measures[groups.order]
        measures = np.empty((len(groups.starts), len(_MEASURES)), np.int64)
        for place, reduce in enumerate((np.add, np.minimum, np.maximum, np.maximum)):
            measures[:, place] = reduce.reduceat(ordered[:, place], groups.starts)
        return _Part(keys, measures)
