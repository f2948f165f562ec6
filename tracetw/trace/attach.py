# SPDX-License-Identifier: Apache-2.0
"""From options to an attached session: preflight, plan, load."""

from __future__ import annotations

import time

from tracetw.errors import CannotTrace
from tracetw.kernel import preflight
from tracetw.kernel.btf import Btf, BtfError
from tracetw.kernel.loader import load
from tracetw.kernel.plan import make_plan
from tracetw.kernel.session import Session
from tracetw.options import TraceOptions
from tracetw.trace.passes import passes

__all__ = ["attach"]

_CLOCK_MONOTONIC_COARSE = 6  # include/uapi/linux/time.h: its resolution is one jiffy


def attach(options: TraceOptions) -> Session:
    """Check, compile and attach.

    Raises CannotTrace with what is missing and what to do.
    """
    preflight.check()
    try:
        plan = make_plan(
            Btf.read(),
            round(1 / time.clock_getres(_CLOCK_MONOTONIC_COARSE)),
            passes=passes(options.filter.kernel()),
            events=options.events,
        )
    except (OSError, BtfError) as error:
        raise CannotTrace(
            f"cannot read the kernel's types: {error}", "use a kernel with CONFIG_DEBUG_INFO_BTF"
        ) from error
    return load(plan)
