# SPDX-License-Identifier: Apache-2.0
"""Records as stories: the JSON object of each connection, its cause, its other end, its ladder."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.report.causes.suspects import Suspect
from tracetw.report.count.scan import Source
from tracetw.report.ends.ladder import steps
from tracetw.report.model import Story
from tracetw.sink.json import close_objects
from tracetw.stream.batch import Ends

__all__ = ["choose", "documents", "stories"]

_PER_CAUSE = 6
_WITHOUT = 24
_CAUSES = 40
_BY = ("peer_hi", "peer_lo", "verdict", "closed_by", "comm", "source")


def documents(source: Source, rows: NDArray[Any]) -> list[Mapping[str, Any]]:
    """The object of each row, as ``trace -o json`` would have written it."""
    closes = source.stages.closes(Ends(rows, source.recording.clock))
    return close_objects(closes, source.stages.context)


def choose(kept: NDArray[Any], suspects: Sequence[Suspect]) -> list[tuple[int, int | None]]:
    """Which of the kept rows to tell: index and number of the cause, the causes in order."""
    cause_of: dict[tuple[Any, ...], int] = {}
    for number, suspect in enumerate(suspects[:_CAUSES], 1):
        theirs = [suspect.cells[name].tolist() for name in _BY]
        for key in zip(*theirs, strict=True):
            cause_of.setdefault(key, number)
    columns = [kept["key"][name].tolist() for name in _BY]
    by_cause: dict[int | None, list[int]] = {}
    for index, key in enumerate(zip(*columns, strict=True)):
        by_cause.setdefault(cause_of.get(key), []).append(index)
    chosen: list[tuple[int, int | None]] = []
    for cause in sorted(by_cause, key=lambda one: (one is None, one or 0)):
        most = _WITHOUT if cause is None else _PER_CAUSE
        chosen += [(index, cause) for index in by_cause[cause][:most]]
    return chosen


def stories(
    sources: Sequence[Source],
    kept: NDArray[Any],
    chosen: Sequence[tuple[int, int | None]],
) -> tuple[Story, ...]:
    """The chosen rows in full.

    Args:
        sources: all of them.
        kept: rows with their keys.
        chosen: index in ``kept`` and number of the cause.
    """
    told: dict[int, Mapping[str, Any]] = {}
    for number, source in enumerate(sources):
        mine = [at for at, _ in chosen if kept["key"]["source"][at] == number]
        if mine:
            rows = np.ascontiguousarray(kept["row"][mine])
            told |= dict(zip(mine, documents(source, rows), strict=True))
    return tuple(
        Story(number, cause, told[index], None, None, None, steps(told[index]))
        for number, (index, cause) in enumerate(chosen, 1)
    )
