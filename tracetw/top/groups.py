# SPDX-License-Identifier: Apache-2.0
"""What went wrong by owner, verdict and peer, in each stretch of time: bounded, whatever peers do."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event import fields
from tracetw.event.fields import ROLES
from tracetw.event.record import F_ADDR, F_SERVER
from tracetw.stream.batch import Closes
from tracetw.text import decoded, visible
from tracetw.verdict.taxonomy import VERDICTS

__all__ = ["KEY", "FailureGroups", "Shown", "keys_of", "marks_of", "shown_key"]

KEY = np.dtype(
    [
        ("comm", "S16"),
        ("raddr", "u1", (16,)),
        ("port", "<u2"),
        ("verdict", "u1"),
        ("role", "u1"),
        ("family", "u1"),
        ("known", "u1"),
        ("pad", "u1", (2,)),
    ]
)
"""Who ended how with whom. ``port`` is that of the service: the peer's for a client, the own for a server."""

CELL = np.dtype([("mark", "<u8"), ("slot", "<i8"), ("count", "<i8"), ("key", KEY)])

_WORDS = KEY.itemsize // 8
# Nobody who names a process can choose which keys meet.
_MULTIPLIERS = [np.uint64(secrets.randbits(64) | 1) for _ in range(_WORDS)]
_SHIFT = np.uint64(32)
_OTHERS = 255
"""``role`` of the cell that stands for all peers and owners that a stretch had no room for."""

_EACH = 256
_KEPT = 1 << 16
_UNSORTED = 1 << 14
_AT_ONCE = 4


def keys_of(batch: Closes) -> NDArray[Any]:
    """The key of each end: dtype ``KEY``."""
    rows = batch.rows
    keys = np.zeros(len(rows), KEY)
    server = (rows["flags"] & F_SERVER) != 0
    for name in ("comm", "raddr", "family"):
        keys[name] = rows[name]
    keys["port"] = np.where(server, rows["lport"], rows["rport"])
    keys["verdict"] = batch.findings.verdict
    keys["role"] = fields.role(rows)
    keys["known"] = (rows["flags"] & F_ADDR) != 0
    return keys


def marks_of(keys: NDArray[Any]) -> NDArray[np.uint64]:
    """A number for each key: the same for the same key, and for no other."""
    words = np.ascontiguousarray(keys).view("<u8").reshape(len(keys), _WORDS)
    marks = np.zeros(len(keys), np.uint64)
    for place, factor in enumerate(_MULTIPLIERS):
        marks = (marks ^ words[:, place]) * factor
        marks ^= marks >> _SHIFT
    return marks


@dataclass(frozen=True, slots=True)
class Shown:
    """A key for people: all of it ``visible``."""

    owner: str
    verdict: str
    peer: str

    @property
    def text(self) -> str:
        """What a filter looks into."""
        return f"{self.owner} {self.verdict} {self.peer}"


def shown_key(key: Any) -> Shown:  # noqa: ANN401 (a record)
    """As people read it."""
    verdict = VERDICTS[int(key["verdict"])].code
    if key["role"] == _OTHERS:
        return Shown("(all others)", verdict, "")
    owner = visible(decoded(bytes(key["comm"]))) or "-"
    one = np.array([key], KEY)
    address = fields.address_texts(one.view(_addressed()), "raddr")[0] if key["known"] else "-"
    shown = f"[{address}]" if ":" in address else address
    port = f":{int(key['port'])}" if key["port"] else ""
    if ROLES[int(key["role"])] == "server":
        return Shown(owner, verdict, f"{shown} to{port}" if port else shown)
    return Shown(owner, verdict, f"{shown}{port}")


def _addressed() -> np.dtype[Any]:
    """``KEY`` with a local address, which ``address_texts`` asks for: the same one."""
    names = ("raddr", "laddr", "family")
    offsets = [KEY.fields[name][1] for name in ("raddr", "raddr", "family")]  # type: ignore[index]
    return np.dtype(
        {
            "names": names,
            "formats": [("u1", (16,)), ("u1", (16,)), "u1"],
            "offsets": offsets,
            "itemsize": KEY.itemsize,
        }
    )


class FailureGroups:
    """Cells of the last stretches of time.

    Of each stretch the ``_EACH`` most frequent keys stay; the rest of it is one cell a verdict.

    Attributes:
        since: the oldest stretch whose cells are all there.
    """

    def __init__(self) -> None:
        self._cells = np.zeros(0, CELL)
        self._new: list[NDArray[Any]] = []
        self._fresh = 0
        self.since = 0

    def add(self, slots: NDArray[np.int64], keys: NDArray[Any], marks: NDArray[np.uint64]) -> None:
        """Ends with these keys in these stretches."""
        different = np.unique(slots)
        if len(different) > _AT_ONCE:  # a recording
            self._add(_summed(_cells(slots, keys, marks, 1)))
        else:
            for slot in different.tolist():
                which = np.flatnonzero(slots == slot)
                mark, first, counts = np.unique(marks[which], return_index=True, return_counts=True)
                self._add(_cells(slot, _picked(keys, which[first]), mark, counts))

    def _add(self, cells: NDArray[Any]) -> None:
        self._new.append(cells)
        self._fresh += len(cells)
        if self._fresh > _UNSORTED:
            self._settle()

    def between(self, since: int, until: int) -> NDArray[Any]:
        """One cell for each key that occurred in these stretches, inclusive; its slot is the last."""
        self._settle()
        slot = self._cells["slot"]
        return _summed(self._cells[(slot >= since) & (slot <= until)], by_slot=False)

    def _settle(self) -> None:
        """Join what is new, and keep within bounds."""
        if not self._new:
            return
        fresh = _few(_summed(np.concatenate(self._new)))
        # Stretches that new cells touch again are counted together, the others are as they were.
        touched = np.isin(self._cells["slot"], np.unique(fresh["slot"]))
        again = _few(_summed(np.concatenate([self._cells[touched], fresh])))
        cells = np.concatenate([self._cells[~touched], again])
        if len(cells) > _KEPT:
            order = np.argsort(cells["slot"], kind="stable")[len(cells) - _KEPT // 2 :]
            cells = cells[order]
            self.since = int(cells["slot"][0]) + 1
        self._cells, self._new, self._fresh = cells, [], 0


def _cells(
    slots: NDArray[np.int64] | int,
    keys: NDArray[Any],
    marks: NDArray[np.uint64],
    counts: NDArray[np.intp] | int,
) -> NDArray[Any]:
    cells = np.zeros(len(keys), CELL)
    cells["slot"], cells["key"], cells["mark"], cells["count"] = slots, keys, marks, counts
    return cells


def _picked(rows: NDArray[Any], which: NDArray[np.intp]) -> NDArray[Any]:
    """``rows[which]``, which takes several times as long field by field."""
    raw = np.ascontiguousarray(rows).view(f"V{rows.dtype.itemsize}")
    picked: NDArray[Any] = raw[which].view(rows.dtype)
    return picked


def _summed(cells: NDArray[Any], *, by_slot: bool = True) -> NDArray[Any]:
    """One cell for each key (and stretch)."""
    if not len(cells):
        return cells
    slot, mark = cells["slot"], cells["mark"]
    cells = _picked(cells, np.lexsort((mark, slot) if by_slot else (slot, mark)))
    new = np.ones(len(cells), np.bool_)
    new[1:] = cells["mark"][1:] != cells["mark"][:-1]
    if by_slot:
        new[1:] |= cells["slot"][1:] != cells["slot"][:-1]
    starts = np.flatnonzero(new)
    found = _picked(cells, starts)
    found["count"] = np.add.reduceat(cells["count"], starts)
    found["slot"] = np.maximum.reduceat(cells["slot"], starts)
    return found


def _few(cells: NDArray[Any]) -> NDArray[Any]:
    """Of each stretch the most frequent ones; the rest by verdict. ``cells`` are summed by slot."""
    if len(cells) <= _EACH:
        return cells
    order = np.lexsort((-cells["count"], cells["slot"]))
    cells = _picked(cells, order)
    starts = np.flatnonzero(np.r_[True, cells["slot"][1:] != cells["slot"][:-1]])
    sizes = np.diff(np.r_[starts, len(cells)])
    place = np.arange(len(cells)) - np.repeat(starts, sizes)
    rest = _picked(cells, np.flatnonzero(place >= _EACH))
    if not len(rest):
        return cells
    keys = np.zeros(len(rest), KEY)
    keys["verdict"], keys["role"] = rest["key"]["verdict"], _OTHERS
    rest["key"], rest["mark"] = keys, marks_of(keys)
    return _summed(np.concatenate([_picked(cells, np.flatnonzero(place < _EACH)), rest]))
