# SPDX-License-Identifier: Apache-2.0
"""``tracetw lab packetdrill``: scripts of the user's own packetdrill, played under the tracer.

packetdrill is not shipped here, and neither are scripts. Each script plays in a network namespace of
its own, in which packetdrill makes its TUN device; after it tracetw prints what it traced there.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tracetw.errors import BadInput, CannotTrace, Failed
from tracetw.lab.net.host import Host
from tracetw.lab.net.reaper import guarded
from tracetw.lab.net.spawn import popen
from tracetw.lab.play.interrupt import stoppable
from tracetw.lab.play.ladder import wall_ns
from tracetw.lab.play.tracer import Line, Tracer
from tracetw.lab.polling import LOOK_S, NotPlayed
from tracetw.text import visible, visible_lines

_SCRIPT_LIMIT_S = 600
_EVENTS = "timewait,drop,retransmit"
_KINDS = frozenset({"close", *_EVENTS.split(",")})


@dataclass(frozen=True, slots=True)
class _Played:
    """A script after its end: packetdrill's exit status and what it said."""

    script: Path
    netns: int
    status: int
    said: str


def find(given: Path | None) -> Path:
    """The packetdrill to run: the one given, or that on PATH.

    Raises BadInput where the given one cannot be run, CannotTrace where there is none.
    """
    found = shutil.which(given or "packetdrill")
    if found is not None:
        return Path(found).resolve()
    if given is not None:
        raise BadInput(f"--packetdrill {given}: no such program", "give the path of its binary")
    raise CannotTrace(
        "packetdrill is not on PATH",
        "build it from its own source (github.com/google/packetdrill) or give --packetdrill PATH",
    )


def play(program: Path, scripts: Sequence[Path], output: str) -> int:
    """Play each script, then print what was seen of it; 1 if packetdrill failed one of them.

    Args:
        program: packetdrill.
        scripts: files that exist.
        output: ``table`` for text, ``json`` for one object a script.
    """
    if os.geteuid() != 0:
        raise CannotTrace("labs need root, for namespaces and for BPF", "run it with sudo")
    tag = f"lab-{os.getpid()}-{secrets.token_hex(3)}"
    with stoppable() as check, guarded(), ExitStack() as undo:
        hosts = []
        for number in range(len(scripts)):
            host = Host(f"{tag}-{number}", "p", {})
            undo.callback(host.remove)
            host.run("ip", "link", "set", "lo", "up")
            hosts.append(host)
        only = [word for host in hosts for word in ("--netns", str(host.netns))]
        tracer = undo.enter_context(Tracer("--events", _EVENTS, *only))
        played = []
        for script, host in zip(scripts, hosts, strict=True):
            played.append(_play(program, script, host, check))
        try:
            tracer.stop(number=signal.SIGTERM)  # after SIGINT it complains if nothing has ended
        except NotPlayed as error:
            raise Failed(f"the tracer: {error}") from None
        for one in played:
            lines = [line for line in tracer.select(netns=one.netns) if line["kind"] in _KINDS]
            text = _json(one, lines) if output == "json" else "\n".join(_text(one, lines))
            print(visible_lines(text))  # noqa: T201
    return int(any(one.status for one in played))


def _play(program: Path, script: Path, host: Host, check: Callable[[], None]) -> _Played:
    with host.entered():
        try:
            process = popen(
                [program, script.name],
                cwd=script.parent,  # scripts name what they share relative to themselves
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        except OSError as error:
            raise BadInput(
                f"{program}: {error.strerror}", "give a program with --packetdrill"
            ) from None
    with process:
        try:
            said = _said(process, check)
        finally:
            process.kill()
    if said is None:
        return _Played(script, host.netns, 1, f"not over within {_SCRIPT_LIMIT_S} s, killed")
    return _Played(script, host.netns, process.returncode, said)


def _said(process: subprocess.Popen[bytes], check: Callable[[], None]) -> str | None:
    """All it says until its end; None when that takes too long."""
    end = time.monotonic() + _SCRIPT_LIMIT_S
    while time.monotonic() < end:
        try:
            return process.communicate(timeout=LOOK_S)[0].decode(errors="replace").strip()
        except subprocess.TimeoutExpired:
            check()
    return None


def _json(played: _Played, lines: Sequence[Line]) -> str:
    return json.dumps(
        {
            "script": str(played.script),
            "status": played.status,
            "output": played.said,
            "lines": [line for line in lines if line["kind"] == "close"],
            "events": [line for line in lines if line["kind"] != "close"],
        }
    )


def _text(played: _Played, lines: Sequence[Line]) -> Iterator[str]:
    yield f"{'FAIL' if played.status else 'PASS'} {visible(str(played.script))} (exit {played.status})"
    yield from (f"  packetdrill: {text}" for text in played.said.splitlines())
    if not lines:
        yield "  no connection ended"
        return
    ordered = sorted(lines, key=lambda line: str(line["time"]))
    start = wall_ns(ordered[0]["time"])
    for line in ordered:
        at_ms = (wall_ns(line["time"]) - start) / 1e6
        where = f"{_end(line['local'])} > {_end(line['remote'])}"
        yield f"  {at_ms:9.1f} ms  {_what(line)}  {where}"
        if line["kind"] == "close":
            yield f"                {' '.join(entry['state'] for entry in line['states'])}"
            yield f"                {line['why']}"


def _what(line: Line) -> str:
    if line["kind"] == "close":
        return str(line["verdict"])
    return f"({line['kind']}: {line.get('event') or line.get('what')})"


def _end(end: Line) -> str:
    address = str(end["addr"])
    return f"[{address}]:{end['port']}" if ":" in address else f"{address}:{end['port']}"
