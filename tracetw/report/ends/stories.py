# SPDX-License-Identifier: Apache-2.0
"""Records as stories: the JSON object of each connection, its cause, its other end, its ladder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.recording.reader import Recording
from tracetw.replay.source import end_wall_ns, judge_recorded
from tracetw.report.causes.suspects import Suspect
from tracetw.report.ends.ladder import steps
from tracetw.report.model import Story
from tracetw.sink.json import JsonSink
from tracetw.stream.batch import Closes, Scene

__all__ = ["choose", "documents", "scene_of", "stories"]

_PER_CAUSE = 6
_WITHOUT = 24
_CAUSES = 40
_BY = ("peer_hi", "peer_lo", "verdict", "closed_by", "comm", "source")


def scene_of(recording: Recording) -> Scene:
    """What sinks need to know of the recorded host."""
    header = recording.header
    names: dict[int, str] | None = None

    def netns_name(inode: int) -> str | None:
        nonlocal names
        if names is None:  # not every sink asks
            names = _netns_names(recording)
        return names.get(inode)

    return Scene(header.host, header.netns, header.names, recording.cgroup_path, netns_name)


def _netns_names(recording: Recording) -> dict[int, str]:
    """Namespaces that kept one name; the kernel uses their inodes again."""
    seen = [segment.header.netns_names for segment in recording.segments]
    seen += [sample.netns_names for sample in recording.samples()]
    names: dict[int, set[str]] = {}
    for each in seen:
        for inode, name in each.items():
            names.setdefault(inode, set()).add(name)
    return {inode: name for inode, (name, *others) in names.items() if not others}


def documents(recording: Recording, rows: NDArray[Any]) -> list[Mapping[str, Any]]:
    """The JSON object of each row, as ``trace -o json`` would have written it."""
    out = BytesIO()
    findings = judge_recorded(recording, rows, end_wall_ns(recording, rows))
    JsonSink(out, scene_of(recording)).closes(Closes(rows, findings, recording.clock))
    return [json.loads(line) for line in out.getvalue().splitlines()]


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
    recordings: Sequence[Recording],
    kept: NDArray[Any],
    chosen: Sequence[tuple[int, int | None]],
) -> tuple[Story, ...]:
    """The chosen rows in full.

    Args:
        recordings: all of them.
        kept: rows with their keys.
        chosen: index in ``kept`` and number of the cause.
    """
    told: dict[int, Mapping[str, Any]] = {}
    for number, recording in enumerate(recordings):
        mine = [at for at, _ in chosen if kept["key"]["source"][at] == number]
        if mine:
            rows = np.ascontiguousarray(kept["row"][mine])
            told |= dict(zip(mine, documents(recording, rows), strict=True))
    return tuple(
        Story(number, cause, told[index], None, None, None, steps(told[index]))
        for number, (index, cause) in enumerate(chosen, 1)
    )
