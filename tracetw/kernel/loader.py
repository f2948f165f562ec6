# SPDX-License-Identifier: Apache-2.0
"""From a plan to an attached session: cached image or compiler, then bpf(2)."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

from tracetw.errors import CannotTrace
from tracetw.kernel.cache import Cache
from tracetw.kernel.image import Image, instantiate
from tracetw.kernel.layout import CAST_CALL
from tracetw.kernel.plan import Plan
from tracetw.kernel.session import Session
from tracetw.kernel.unit import join

__all__ = ["load"]

_FLAGS = ("-Wno-macro-redefined", "-Wno-unused-value")
# Atomics are refused by the verifier before 5.12: then without.
_VARIANTS = (("-DHAVE_CMPXCHG",), ())


def load(plan: Plan, cache: Cache | None = None) -> Session:
    """Compile or take from the cache, load and attach.

    Raises CannotTrace with what the compiler or the verifier said.
    """
    cache = cache or Cache()
    source = join(plan)
    hooks = [(hook.program, hook.event) for hook in plan.hooks]
    refusal = ""
    for variant in _VARIANTS:
        flags = [*_FLAGS, *variant]
        image = cache.get(source, flags)
        fresh = image is None
        if image is None:
            image = _compile(source, flags, plan)
        try:
            held = instantiate(image, hooks, call=CAST_CALL, function=plan.cast_function)
        except OSError as error:
            refusal = refusal or str(error.strerror)
            if error.errno == errno.EPERM:
                break
            continue
        if fresh:
            cache.put(source, flags, image)
        return Session(plan, held)
    raise CannotTrace(f"the kernel refused the BPF programs: {refusal}")


def _compile(source: str, flags: list[str], plan: Plan) -> Image:
    request = {
        "source": source,
        "cflags": flags,
        "maps": plan.maps,
        "programs": [hook.program for hook in plan.hooks],
    }
    # -m puts the current folder first on the path: it must not be the user's.
    package = Path(__file__).resolve().parent.parent
    done = subprocess.run(
        [sys.executable, "-m", "tracetw.kernel.compiler"],
        input=json.dumps(request).encode(),
        capture_output=True,
        cwd="/",
        env={**os.environ, "PYTHONPATH": str(package.parent)},
        start_new_session=True,
        check=False,
    )
    if done.returncode:
        raise CannotTrace(_reason(done.stderr.decode(errors="replace"), done.returncode))
    return Image.parse(done.stdout)


def _reason(text: str, status: int) -> str:
    """The lines that say why, of all that BCC and clang printed."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "error:" in line or "Error" in line]
    shown = "; ".join((telling or lines)[:3]) or f"the compiler ended with status {status}"
    return f"cannot compile the BPF programs: {shown}"
