# SPDX-License-Identifier: Apache-2.0
"""What happened to the connections of an incident, one after the other: died, reset, refused, back."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.report.count.keys import address
from tracetw.report.incidents.context import Draft, IncidentContext, codes
from tracetw.report.model import Phase
from tracetw.report.render.phrases import Words
from tracetw.sink.human import endpoint

_WHAT = np.array(["reset"] * 256, dtype="U16")
for _name, _verdicts in {
    "closed": ("orderly", "namespace-gone"),
    "refused": ("connect-refused",),
    "unreachable": ("unreachable",),
    "no-port": ("connect-failed",),
    "other": ("undetermined", "accept-aborted"),
    "timed-out": (
        "retransmit-exhausted",
        "fin-exhausted",
        "user-timeout",
        "keepalive-expired",
        "window-probe-expired",
        "fin-wait2-timeout",
        "connect-timeout",
        "connect-aborted",
        "output-blocked",
    ),
}.items():
    _WHAT[codes(*_verdicts)] = _name

_TEXTS = {
    "reset": ("connection reset", "connections reset"),
    "closed": ("connection closed with its process", "connections closed with their process"),
    "refused": ("attempt refused", "attempts refused"),
    "unreachable": ("connection unreachable", "connections unreachable"),
    "no-port": ("attempt without a local port", "attempts without a local port"),
    "timed-out": ("connection without an answer", "connections without an answer"),
    "other": ("other", "others"),
}


def phases(context: IncidentContext, draft: Draft, words: Words) -> tuple[Phase, ...]:
    """In the order of their beginning."""
    cells = context.cells[draft.cells]
    what = _WHAT[cells["verdict"]]
    found = [_phase(name, cells[what == name], words) for name in np.unique(what).tolist()]
    found.sort(key=lambda one: one.began_ns)
    if draft.back_ns is not None:
        found.append(_back(draft, words))
    return tuple(found)


def _phase(name: str, cells: NDArray[Any], words: Words) -> Phase:
    count = int(cells["count"].sum())
    began, ended = int(cells["first"].min()), int(cells["last"].max())
    one, several = _TEXTS[name]
    return Phase(
        what=name,
        text=f"{count:,} {one if count == 1 else several} ({words.between(began, ended)})",
        count=count,
        began_ns=began,
        ended_ns=ended,
    )


def _back(draft: Draft, words: Words) -> Phase:
    at = int(draft.back_ns or 0)
    where = ""
    if draft.service is not None:
        high, low, port, _ = draft.service
        where = f" on {endpoint(address(high, low), port)}"
    by = f" by pid {draft.back_pid}" if draft.back_pid else ""
    return Phase("back", f"served again{by}{where} at {words.time(at)}", 0, at, at)
