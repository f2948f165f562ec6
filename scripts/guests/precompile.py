# SPDX-License-Identifier: Apache-2.0
"""Compiles, in the root of a box, what the lab's recorder will load there under the box's own kernel.

LLVM under emulation takes minutes, and here seconds. The image is found by all that the compiler sees: where this
guesses wrong, such as after a change of the programs, the machine compiles as any other does.

Run in the root as ``python -I -m scripts.guests.precompile``: JSON on standard input (``btf``: path; ``present``: what
``tracetw doctor`` finds under that kernel, by slug).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Collection
from pathlib import Path

from tracetw.kernel.attach_point import FAMILIES
from tracetw.kernel.btf import Btf
from tracetw.kernel.capability import Answers
from tracetw.kernel.function_probe import FUNCTION_PROBES
from tracetw.kernel.load.cache import Cache
from tracetw.kernel.load.loader import compiled
from tracetw.lab.vagrant.recorder import EVENTS, MOST_CONNECTIONS
from tracetw.lab.vagrant.remote import NETWORK
from tracetw.live.attach import plan_of
from tracetw.live.request import Request
from tracetw.stream.filter import Filter

__all__ = ["answers_of"]

# CONFIG_HZ of Debian's kernels and of Ubuntu's until 24.04; the machines of the Vagrantfile have one CPU.
_HZ, _CPUS = 250, 1


def answers_of(present: Collection[str]) -> Answers:
    """What the kernel answered when it was surveyed."""
    return Answers(
        refused={family: "" if family.value in present else "refused" for family in FAMILIES},
        cmpxchg="cmpxchg" in present,
        absent=frozenset(row.program for row in FUNCTION_PROBES) - frozenset(present),
    )


def main() -> None:
    """Raises OSError, BtfError, CannotTrace."""
    told = json.load(sys.stdin)
    request = Request(
        filter=Filter.parse(addr=(NETWORK,)),
        events=frozenset(EVENTS.split(",")),
        max_connections=MOST_CONNECTIONS,
    )
    btf = Btf.read(Path(told["btf"]))
    plan = plan_of(request, btf, answers_of(told["present"]), cpus=_CPUS, hz=_HZ)
    compiled(plan, Cache())


if __name__ == "__main__":
    main()
