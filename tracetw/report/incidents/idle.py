# SPDX-License-Identifier: Apache-2.0
"""Deaths of servers that held no connection: the end of the listener says how the process ended."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from tracetw.event.fields import exit_status
from tracetw.report.count.keys import SECOND, address
from tracetw.report.incidents.context import Draft, Ended, IncidentContext
from tracetw.report.render.phrases import joined

_ASKED = {"SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT"}
_SOON_NS = 500_000_000
_LOOP, _LOOP_NS = 3, 60 * SECOND


def ended_before(context: IncidentContext, service: int, refused: NDArray[np.intp]) -> Ended | None:
    """The last listener of a service whose process died before it refused; None: not recorded, or several.

    Args:
        context: what was recorded.
        service: its number.
        refused: cells of the attempts.
    """
    cells = context.cells[refused]
    began_ns = int(cells["first"].min())
    places = {*zip(cells["source"].tolist(), cells["netns"].tolist(), strict=True)}
    found = [
        one
        for one in context.ended
        if one.end.port == context.services[service][2]
        and one.at_ns <= began_ns + _SOON_NS
        and at_service(context, one, service, places)
    ]
    if not found:
        return None
    last = max(found, key=lambda one: one.at_ns)
    served, _ = context.serving(service, last.at_ns + _SOON_NS)
    if served is not None and served < began_ns:  # others served it since
        return None
    at_once = {(one.source, one.end.pid) for one in found if last.at_ns - one.at_ns < _SOON_NS}
    return last if len(at_once) == 1 else None


def at_service(
    context: IncidentContext, one: Ended, service: int, places: set[tuple[int, int]]
) -> bool:
    """Did this listener take connections to the address of the service, from these namespaces?"""
    high, low, _, loopback = context.services[service]
    if loopback and (one.source, one.end.netns) not in places:
        return False
    try:
        bound = ipaddress.ip_address(one.end.address)
    except ValueError:  # whoever wrote the recording chose it
        return False
    if not bound.is_unspecified:
        return str(bound) == address(high, low)
    return bool(loopback) or (high, low) in context.here[one.source]


def told_by(draft: Draft, one: Ended) -> None:
    """Who served it, and what the incident is, if the process did not end as it was asked to."""
    code, name, _ = exit_status(one.end.exit_code)
    draft.ended = one
    draft.before_pid = one.end.pid
    if violent(one):
        draft.kind = "oom" if one.end.oom else "kill"
        draft.began_ns = one.at_ns
        draft.deaths = 1
    how = f"died of {name}" if name else f"exited with code {code}"
    draft.evidence.append(f"its listener closed when pid {one.end.pid} {how}")


def loops(context: IncidentContext) -> Iterator[list[Ended]]:
    """Listeners of a program whose processes died three times or more without a minute between, not all by SIGKILL.

    In the order of their deaths; a process with several listeners is there with all of them.
    """
    programs: dict[tuple[int, int, str], list[Ended]] = {}
    for one in sorted(filter(violent, context.ended), key=lambda one: one.at_ns):
        programs.setdefault((one.source, one.end.netns, one.end.comm), []).append(one)
    for mine in programs.values():
        at = np.array([one.at_ns for one in mine])
        for part in np.split(np.arange(len(mine)), np.flatnonzero(np.diff(at) > _LOOP_NS) + 1):
            loop = [mine[number] for number in part.tolist()]
            killed = {exit_status(one.end.exit_code)[1] for one in loop} == {"SIGKILL"}
            if len({one.end.pid for one in loop}) >= _LOOP and (not killed or loop[0].end.oom):
                yield loop


def told_by_loop(draft: Draft, loop: Sequence[Ended]) -> None:
    """As :func:`told_by`, of a program that died again and again."""
    draft.kind = "crash-loop"
    draft.ended, *again = loop
    draft.again = tuple(again)
    draft.began_ns = loop[0].at_ns
    draft.before_pid = loop[-1].end.pid
    draft.deaths = len({one.end.pid for one in loop})
    names = [exit_status(one.end.exit_code)[1] or "a signal" for one in loop]
    draft.evidence.append(
        f"its listener closed each time, as it died of {joined(sorted({*names}))}"
    )


def violent(one: Ended) -> bool:
    """Did the process die of what nobody sends to end it in order?"""
    name = exit_status(one.end.exit_code)[1]
    return one.end.oom or (name is not None and name not in _ASKED)
