# SPDX-License-Identifier: Apache-2.0
"""From a plan to an attached session: cached image or compiler, then bpf(2)."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tracetw import isolated
from tracetw.errors import CannotTrace, shortage
from tracetw.kernel import bindings
from tracetw.kernel.layout import CAST_CALL
from tracetw.kernel.load.cache import Cache
from tracetw.kernel.load.image import Image, instantiate
from tracetw.kernel.load.programs import Refused
from tracetw.kernel.load.session import Session
from tracetw.kernel.plan import Plan
from tracetw.kernel.unit import join

_FLAGS = ["-Wno-macro-redefined", "-Wno-unused-value"]

_LESS_ROOM = "; or ask for smaller tables with --max-connections"


class ProbeRefused(Exception):
    """The kernel refused a function probe; tracing is possible without it."""

    def __init__(self, program: str, error: str) -> None:
        super().__init__(f"{program}: {error}")
        self.program = program
        self.error = error


def _silent(_: str) -> None:
    """For callers that have nobody to tell."""


def load_best(
    make: Callable[[frozenset[str]], Plan],
    cache: Cache | None = None,
    say: Callable[[str], None] = _silent,
) -> Session:
    """Load what ``make`` plans; function probes that the kernel refuses are planned away.

    ``make`` gets the names of those to do without, ``say`` one line when the user has to wait. Raises as
    :func:`load`.
    """
    refused: dict[str, str] = {}
    while True:
        plan = replace(make(frozenset(refused)), refused=dict(refused))
        try:
            return load(plan, cache, say)
        except ProbeRefused as error:
            refused[error.program] = error.error


def load(plan: Plan, cache: Cache | None = None, say: Callable[[str], None] = _silent) -> Session:
    """Compile or take from the cache, load and attach.

    Raises CannotTrace with what the compiler or the verifier said, ProbeRefused of a function probe.
    """
    image = compiled(plan, cache or Cache(), say)
    optional = {point.program: each.probe.program for each in plan.probes for point in each.points}
    try:
        held = instantiate(
            image,
            plan.attach_points,
            plan.contents,
            call=CAST_CALL,
            function=plan.cast_function,
        )
    except OSError as error:
        if (short := shortage(error)) is not None:
            message, hint = short
            more = _LESS_ROOM if error.errno == errno.ENOMEM else ""
            raise CannotTrace(message, hint + more) from error
        if isinstance(error, Refused) and error.program in optional:
            raise ProbeRefused(optional[error.program], str(error.strerror)) from error
        if error.errno == errno.EPERM:
            raise CannotTrace(
                f"the kernel does not permit us to load BPF programs: {error.strerror}",
                "a security module, seccomp or lockdown forbids bpf(2): look into dmesg, or start it"
                " outside of the container",
            ) from error
        raise CannotTrace(f"the kernel refused the BPF programs: {error.strerror}") from error
    return Session(plan, held)


def compiled(plan: Plan, cache: Cache, say: Callable[[str], None] = _silent) -> Image:
    """The programs of a plan, from the cache, else compiled and put there. The plan may be another kernel's.

    Raises CannotTrace with what the compiler said.
    """
    source = join(plan)
    image = cache.get(source, _FLAGS)
    if image is None:
        say("compiling, once for these options")
        image = _compile(source, plan)
        cache.put(source, _FLAGS, image)
    return image


def _compile(source: str, plan: Plan) -> Image:
    request: dict[str, Any] = {
        "bindings": str(bindings.find()),
        "source": source,
        "cflags": _FLAGS,
        "programs": [point.program for point in plan.attach_points],
    }
    # Neither packages nor PYTHON* of the user have a say in what root compiles.
    done = subprocess.run(
        isolated.command("tracetw.kernel.load.compiler", packages=False),
        input=json.dumps(request).encode(),
        capture_output=True,
        cwd="/",
        env=isolated.environment(),
        start_new_session=True,
        check=False,
    )
    said = done.stderr.decode(errors="replace")
    if done.returncode:
        _check_limits(said)
    if done.returncode == bindings.UNUSABLE:
        raise CannotTrace(*unusable(Path(request["bindings"]), said))
    if done.returncode:
        raise CannotTrace(_reason(said, done.returncode))
    return Image.parse(done.stdout)


def _check_limits(text: str) -> None:
    """Raises CannotTrace when the compiler met a limit of the process, which it inherited."""
    for number in (errno.EMFILE, errno.ENFILE, errno.ENOMEM):
        short = shortage(OSError(number, ""))
        if os.strerror(number) in text and short is not None:
            raise CannotTrace(*short)


def unusable(folder: Path, said: str) -> tuple[str, str]:
    """Message and hint for a failed import of BCC; ``said`` is its stderr."""
    version = ".".join(map(str, sys.version_info[:2]))
    why = (said.strip().splitlines() or ["it gave no reason"])[-1]
    return (
        f"BCC's Python bindings in {folder} do not work with this Python {version}: {why}",
        "install tracetw with the distribution's /usr/bin/python3, or install these bindings again",
    )


def _reason(text: str, status: int) -> str:
    """The lines that say why, of all that BCC and clang printed."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "error:" in line or "Error" in line]
    shown = "; ".join((telling or lines)[:3]) or f"the compiler ended with status {status}"
    return f"cannot compile the BPF programs: {shown}"
