# SPDX-License-Identifier: Apache-2.0
"""The text of each passage."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

from scripts.pages.mark import item, marked
from scripts.pages.source import constant, define, size_of
from tracetw.event.record import CLOSE_SIZE
from tracetw.kernel.capability import HOOKS
from tracetw.kernel.function_probe import FUNCTION_PROBES
from tracetw.kernel.plan import Sizes
from tracetw.live.attach import BYTES_A_CONNECTION, LEAST_CONNECTIONS, MOST_BY_DEFAULT
from tracetw.live.pauses import FEW
from tracetw.reconcile.compare import ALWAYS, OF_MPTCP, WITH_EVENTS
from tracetw.verdict.handbook import DROP_EVENTS, TIMEWAIT_EVENTS, EventEntry
from tracetw.verdict.hints import HINTS
from tracetw.verdict.taxonomy import CLOSED_BY_MEANINGS, FORM_MEANINGS, LIMIT_UNITS

_PAGE = 4096
_NS = 1_000_000_000
_PLACE = re.compile(r"\{\w+\}")


def _memory() -> Iterator[str]:
    sizes = Sizes()
    yield item(
        "Kernel memory is allocated once, for arrays of fixed size, and charged to the control group that tracetw "
        f"starts in: {BYTES_A_CONNECTION} bytes for each live connection that there is room for. `--max-connections N` "
        "says how many; the default is what half a percent of the machine's memory holds, "
        f"{_room(LEAST_CONNECTIONS)} at least and {_room(MOST_BY_DEFAULT)} at most. An eighth as many sockets "
        "can wait for their owner, a quarter as many connections for the end of FIN_WAIT2. tracetw still reports "
        "connections beyond that, with their verdict and owner, but without the times and the role that only their "
        f"history tells; the summary says how many. The ring buffer takes {_ring(sizes.closes_pages)}. `--events` and "
        f"`--transitions` add a ring of {_ring(sizes.events_pages)}, `--events timewait` a hash of "
        f"{sizes.timewait_owners:,} entries."
    )


def _room(connections: int) -> str:
    return f"{connections:,} ({connections * BYTES_A_CONNECTION / 2**20:.0f} MiB)"


def _ring(pages: int) -> str:
    return f"{pages * _PAGE >> 20} MiB"


def _sizes() -> Iterator[str]:
    sizes = Sizes.for_connections(LEAST_CONNECTIONS)
    yield from _table(
        ("what", "how much"),
        (
            ("record of one connection end", f"{CLOSE_SIZE} bytes"),
            ("live connection", f"{size_of('conn')} bytes"),
            (f"slots of `conns` for {LEAST_CONNECTIONS:,} connections", f"{sizes.conn_slots:,}"),
            ("slots of `closed` then", f"{sizes.closed_slots:,}"),
            ("slots of `timewaits` then", f"{sizes.timewait_slots:,}"),
            ("records in the ring", f"{sizes.closes_pages * _PAGE // (CLOSE_SIZE + 8):,}"),
        ),
    )


def _times() -> Iterator[str]:
    yield from _table(
        ("what", "how long"),
        (
            ("after the first record user space lets a ring fill for", _time(constant("_PAUSE"))),
            (
                f"where more than {FEW} ends come in that time, for",
                f"{_time(constant('_ROUND_LEAST'))} to {_time(constant('_ROUND_MOST'))}",
            ),
            (
                "what came so waits for more of it, to be judged together, for",
                f"{_time(constant('_MORE_COMES'))} at most",
            ),
            (
                "it looks at what waits in `closed` and `awaits_rst` every",
                _time(constant("_SWEEP")),
            ),
            ("it reads the counters of losses every", _time(constant("_AUDIT"))),
            (
                "a dead socket waits for its application to close it",
                _time(constant("_PATIENCE_NS") / _NS),
            ),
            ("a record in `awaits_rst` waits for its RST", _time(constant("_SOFTIRQ_NS") / _NS)),
            (
                "a slot of `closed` can be reused, if its set is full, after",
                _time(define("CLOSED_OLD_NS") / _NS),
            ),
            (
                "a slot of `timewaits` can be reused, if its set is full, after",
                _time(define("TW_OLD_NS") / _NS),
            ),
        ),
    )


def _time(seconds: float) -> str:
    """As somebody would say it."""
    if seconds < 1:
        return f"{seconds * 1000:g} ms"
    return f"{seconds:g} s" if seconds < 120 else f"{seconds / 60:g} minutes"  # noqa: PLR2004


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |\n|{'---|' * len(head)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def _values(head: tuple[str, str], values: Mapping[str, str]) -> Iterator[str]:
    return _table(head, ((f"`{name}`", marked(text)) for name, text in values.items()))


def _events(events: Iterable[EventEntry]) -> Iterator[str]:
    head = ("`event`", "what happened")
    return _table(
        head,
        ((f"[`{each.name}`](verdicts/{each.name}.md)", marked(each.meaning)) for each in events),
    )


def _hints() -> Iterator[str]:
    rows = ((f"`{hint.code}`", marked(hint.holds), marked(hint.advice)) for hint in HINTS)
    return _table(("hint", "it appears when", "what to do"), rows)


def _hint_phrases() -> Iterator[str]:
    phrases = ((f"`{hint.code}`", text) for hint in HINTS for text in hint.phrases.values())
    rows = ((code, _PLACE.sub("N", text)) for code, text in phrases)
    return _table(("hint", "what `why` adds"), rows)


def _hooks() -> Iterator[str]:
    rows = ((f"`{one.program}`", f"{one.system}:{one.event}", one.gives, one.lost) for one in HOOKS)
    return _table(("hook (`bpf/probes/`)", "tracepoint", "facts", "without it"), rows)


def _function_probes() -> Iterator[str]:
    head = (
        "function probe (`bpf/probes/`)",
        "function",
        "only with `--events`",
        "facts",
        "without it",
    )
    names = ((f"`{one.program}`", one.function, one.event or "-") for one in FUNCTION_PROBES)
    effects = ((one.gives, one.lost) for one in FUNCTION_PROBES)
    return _table(head, ((*name, *effect) for name, effect in zip(names, effects, strict=True)))


def _counters() -> Iterator[str]:
    events = ((f"with `--events {kind}`", names) for kind, names in WITH_EVENTS.items())
    rows = (("always", ALWAYS), ("where MPTCP resets connections", OF_MPTCP), *events)
    return _table(("when", "counters compared"), ((when, ", ".join(names)) for when, names in rows))


PASSAGES: Mapping[str, Callable[[], Iterator[str]]] = {
    "memory": _memory,
    "sizes": _sizes,
    "times": _times,
    "limits": lambda: _values(("`limit.name`", "unit of `limit.value`"), LIMIT_UNITS),
    "closed-by": lambda: _values(("`closed_by`", "brought about by"), CLOSED_BY_MEANINGS),
    "forms": lambda: _values(("`form`", "on the wire"), FORM_MEANINGS),
    "timewait-events": lambda: _events(TIMEWAIT_EVENTS),
    "hints": _hints,
    "hint-phrases": _hint_phrases,
    "hooks": _hooks,
    "function-probes": _function_probes,
    "counters": _counters,
    "drop-events": lambda: _events(DROP_EVENTS),
}
"""Name of a passage to what makes its lines."""
