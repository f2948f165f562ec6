# SPDX-License-Identifier: Apache-2.0
"""A short-lived child that steps into each network namespace, reads, and says what it found.

It gives up every capability but those to step inside and to list firewall rules before it reads anything,
changes nothing, and ends with its last line. The process that asks stays where it is.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from tracetw.doctor.observed import Facts
from tracetw.host import netns, privileges
from tracetw.host.counters import parse
from tracetw.host.firewall import tracking
from tracetw.host.quiet import listening, quiet
from tracetw.host.routes import RtoMin, rto_mins

_CLONE_NEWNET = 0x40000000
_KEEP = privileges.ENTER_NAMESPACES | privileges.READ_PROCESSES | {"CAP_NET_ADMIN"}
_NET = Path("/proc/thread-self/net")
_LONGEST = 1 << 20

_T = TypeVar("_T")


def main() -> None:
    """Reads one line of JSON, ``{"names", "counters", "nf_tables", "idle_s", "namespaces"}``; answers one each."""
    asked = json.loads(sys.stdin.readline())
    with contextlib.suppress(OSError):
        privileges.drop(_KEEP)
    here = netns.current()
    for inode, path in asked["namespaces"]:
        answer: dict[str, Any] = {"inode": inode}
        try:
            if inode != here:
                _enter(path, inode)
                here = inode
        except FileNotFoundError:
            answer["gone"] = True
        except OSError as error:
            answer["error"] = error.strerror or str(error)
        else:
            answer |= _answer(asked)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


def _answer(asked: dict[str, Any]) -> dict[str, Any]:
    """What can be read inside: a file that is not there is not a namespace that is gone."""
    try:
        return {"facts": _facts(asked).plain()}
    except OSError as error:
        return {"error": error.strerror or str(error)}


def _enter(path: str, inode: int) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if os.fstat(descriptor).st_ino != inode:
            raise FileNotFoundError(f"network namespace {inode} is gone")
        if ctypes.CDLL(None, use_errno=True).setns(descriptor, _CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)


def _facts(asked: dict[str, Any]) -> Facts:
    missing: list[str] = []

    def attempt(what: str, read: Callable[[], _T], otherwise: _T) -> _T:
        try:
            return read()
        except OSError as error:
            missing.append(f"{what}: {error.strerror or error}")
            return otherwise

    none: tuple[list[RtoMin], bool] = ([], True)
    routes, complete = attempt("routes", rto_mins, none)
    if not complete:
        missing.append("routes: too many, not all were looked at")
    return Facts(
        sysctls={name: values for name in asked["names"] if (values := _numbers(name))},
        counters=attempt("counters", lambda: _counters(asked["counters"]), {}),
        sockets=attempt("sockets", _sockets, {}),
        rto_mins=tuple(routes),
        listeners=attempt("listeners", listening, ()),
        quiet=attempt("connections", lambda: quiet(asked["idle_s"]), None),
        tracking=tracking(nf_tables=asked["nf_tables"]),
        missing=tuple(missing),
    )


def _numbers(name: str) -> tuple[int, ...]:
    try:
        return tuple(int(word) for word in _read(Path("/proc/sys", *name.split("."))).split())
    except (OSError, ValueError):
        return ()


def _counters(wanted: list[str]) -> dict[str, int]:
    return parse(_read(_NET / "netstat"), wanted) | parse(_read(_NET / "snmp"), wanted)


def _sockets() -> dict[str, int]:
    """``tw`` and the others of the line ``TCP: inuse 5 orphan 0 tw 12 alloc 7 mem 1``."""
    lines = _read(_NET / "sockstat").splitlines()
    words = next((line.split() for line in lines if line.startswith("TCP:")), [])
    return {name: int(number) for name, number in zip(words[1::2], words[2::2], strict=False)}


def _read(path: Path) -> str:
    with path.open(encoding="ascii", errors="replace") as file:
        return file.read(_LONGEST)


if __name__ == "__main__":
    main()
