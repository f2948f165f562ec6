# SPDX-License-Identifier: Apache-2.0
"""From a request to an attached session: preflight, plan, load."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tracetw.errors import CannotTrace, shortage
from tracetw.host.clock import jiffies_per_second
from tracetw.kernel import preflight
from tracetw.kernel.btf import Btf, BtfError
from tracetw.kernel.capability import Answers
from tracetw.kernel.load.loader import load_best
from tracetw.kernel.load.probe import ask
from tracetw.kernel.load.session import Session
from tracetw.kernel.plan import Plan, Sizes, make_plan
from tracetw.live.request import Request

LEAST_CONNECTIONS, MOST_BY_DEFAULT = 1 << 16, 1 << 20
_SHARE = 200
# Kernel memory of Sizes.for_connections (tests/kernel/test_pressure.py adds it up).
BYTES_A_CONNECTION = 525
_ROUND = 1024


def attach(request: Request, say: Callable[[str], None]) -> Session:
    """Check, compile and attach. ``say`` gets one line when that takes long.

    Raises CannotTrace with what is missing and what to do.
    """
    try:
        return _attach(request, say)
    except OSError as error:
        if (short := shortage(error)) is None:
            raise
        raise CannotTrace(*short) from error


def _attach(request: Request, say: Callable[[str], None]) -> Session:
    preflight.check()
    with _readable():
        btf = Btf.read()
    answers = ask(btf)

    def planned(refused: frozenset[str]) -> Plan:
        with _readable():
            return plan_of(
                request,
                btf,
                answers,
                without=refused,
                cpus=os.cpu_count() or 1,
                hz=jiffies_per_second(),
            )

    return load_best(planned, say=say)


def plan_of(
    request: Request,
    btf: Btf,
    answers: Answers,
    *,
    cpus: int,
    hz: int,
    without: frozenset[str] = frozenset(),
) -> Plan:
    """What a request loads into the kernel that has this BTF and gave these answers.

    Args:
        cpus: of the machine.
        hz: jiffies per second of the kernel.
        without: as in :func:`tracetw.kernel.plan.make_plan`, which says what it raises.
    """
    return make_plan(
        btf,
        hz,
        wanted=request.filter.kernel(),
        sizes=Sizes.for_connections(request.max_connections or connections_for(memory()), cpus),
        events=request.events,
        without=without,
        answers=answers,
    )


def memory() -> int:
    """Bytes of the machine's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def connections_for(memory_bytes: int) -> int:
    """How many live connections there is room for by default: tables of half a percent of the memory."""
    wanted = memory_bytes // _SHARE // BYTES_A_CONNECTION
    return min(max(wanted, LEAST_CONNECTIONS), MOST_BY_DEFAULT) // _ROUND * _ROUND


@contextmanager
def _readable() -> Iterator[None]:
    """Raises CannotTrace when the kernel's types are not what can be read."""
    try:
        yield
    except (OSError, BtfError) as error:
        if isinstance(error, OSError) and shortage(error) is not None:
            raise
        raise CannotTrace(
            f"cannot read the kernel's types: {error}", "use a kernel with CONFIG_DEBUG_INFO_BTF"
        ) from error
