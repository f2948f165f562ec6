# SPDX-License-Identifier: Apache-2.0
"""Screen 4: the story of one connection: its segments, why it ended, the evidence, the handbook."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from textwrap import wrap
from typing import Any

from tracetw.report.ends.ladder import steps
from tracetw.sink.human import endpoint, size
from tracetw.sink.json import close_objects
from tracetw.text import visible
from tracetw.top.board import Board
from tracetw.top.connections import KeptConnection, find
from tracetw.top.lines import Line
from tracetw.top.state import Body
from tracetw.verdict.evidence import EVIDENCE
from tracetw.verdict.handbook import GUIDES
from tracetw.verdict.handbook.lines import guide_text
from tracetw.verdict.taxonomy import VERDICT_INDEX, VERDICTS

_MOST = 100
_NAME = 22
_TONES = {"rst": "bad", "lost": "worst", "again": "odd", "end": "head", "note": "dim"}


def story_body(board: Board, number: int, width: int) -> Body:
    """The story of the connection of this number."""
    found = find(board, number)
    lines = [] if found is None else story_lines(found, min(width, _MOST))
    return Body(
        (),
        (),
        len(lines),
        lambda at: lines[at],
        empty="this connection is no longer kept; Esc goes back to the list",
    )


def story_lines(found: KeptConnection, width: int) -> list[Line]:
    """In lines of ``width`` columns."""
    (document,) = close_objects(found.closes, found.context)
    return [
        *_facts(document, width),
        *_ladder(document),
        *_proof(document, width),
        *_guide(document),
    ]


def _facts(close: Mapping[str, Any], width: int) -> Iterator[Line]:
    abnormal = VERDICTS[VERDICT_INDEX[close["verdict"]]].abnormal
    local, remote = (_end(close[name]) for name in ("local", "remote"))
    yield (
        (visible(str(close["verdict"])), "bad" if abnormal else "good"),
        (f"  {local} - {remote}  {close['role'] or 'role unknown'}", ""),
    )
    yield from _wrapped(str(close["why"]), width)
    yield ()
    owner = f"{close['comm'] or '-'} (pid {close['pid']})" if close["pid"] else close["comm"]
    facts = {
        "ended": close["time"],
        "process": owner or "unknown",
        "cgroup": close["cgroup"] or "unknown",
        "closed first": close["first_close"],
        "closed by": close["closed_by"] or "unknown",
        "lived": _ms(close["duration_ms"]),
        "sent, received": f"{size(close['bytes_sent'])}B, {size(close['bytes_received'])}B",
        "TIME_WAIT": close["time_wait"],
    }
    for name, value in facts.items():
        yield (f"{name:{_NAME}}", "dim"), (visible(str(value)), "")


def _end(end: Mapping[str, Any] | None) -> str:
    return endpoint(str(end["addr"]), int(end["port"])) if end else "-"


def _ms(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.1f} ms"


def _ladder(close: Mapping[str, Any]) -> Iterator[Line]:
    yield ()
    ladder = steps(close)
    room = max((len(str(step["label"])) for step in ladder), default=0)
    yield ((f"      ms  {'here':{room + 4}} peer", "head"),)
    for step in ladder:
        at = "" if step["at_ms"] is None else f"{step['at_ms']:.1f}"
        label = visible(str(step["label"]))
        side = step["from"]
        if side == "local":
            arrow = f"--{label:-<{room}}->"
        elif side == "remote":
            arrow = f"<-{label:-<{room}}--"
        else:
            arrow = f"  {label:{room}}  "
        state = f"  {visible(step['state'])}" if step["state"] else ""
        yield (f"{at:>8}  ", "dim"), (arrow, _TONES.get(step["kind"], "")), (state, "key")


def _proof(close: Mapping[str, Any], width: int) -> Iterator[Line]:
    yield ()
    yield ((f"Evidence ({close['confidence']})", "head"),)
    for name in close["evidence"]:
        text = EVIDENCE.get(name, "")
        first, *more = wrap(text, max(width - _NAME - 2, 20)) or [""]
        yield (f"  {visible(name):{_NAME}}", "key"), (first, "")
        for line in more:
            yield ((f"  {'':{_NAME}}{line}", ""),)
    if not close["evidence"]:
        yield (("  none: the verdict rests on no fact", "dim"),)


def _guide(close: Mapping[str, Any]) -> Iterator[Line]:
    yield ()
    yield from _handbook(close["verdict"])


@lru_cache(maxsize=64)
def _handbook(verdict: str) -> Sequence[Line]:
    """What ``tracetw explain`` prints; headings are what does not begin with a space."""
    lines = guide_text(GUIDES[verdict]).split("\n")
    return tuple(((line, "" if line.startswith(" ") else "head"),) for line in lines)


def _wrapped(text: str, width: int) -> Iterator[Line]:
    for line in wrap(visible(text), width):
        yield ((line, ""),)
