# SPDX-License-Identifier: Apache-2.0
"""The end of a listener is recorded when its process dies, and only then."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pytest

from tracetw.lab.net.host import Host, alone
from tracetw.lab.play.child import COMMAND, environment
from tracetw.lab.polling import patient
from tracetw.recording.facts import ListenerEnd
from tracetw.recording.reader import open_recordings
from tracetw.report.build import build
from tracetw.report.model import Incident

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(200)]

# Port and signal of a child each: 0 closes in order and goes on living for a moment.
CHILDREN = textwrap.dedent("""
    import os, signal, socket, sys, time
    for word in sys.argv[1:]:
        port, number = map(int, word.split(":"))
        child = os.fork()
        if not child:
            family = socket.AF_INET6 if port == 9103 else socket.AF_INET
            listener = socket.create_server(("", port), family=family)
            if not number:
                listener.close()
                os._exit(0)
            os.kill(os.getpid(), number)
        os.waitpid(child, 0)
    time.sleep(0.2)
""")

# listening() makes a child that answers each of its ports twice, for IPv4 and IPv6, and waits for a signal.
SERVE = textwrap.dedent("""
    import os, signal, socket
    def listening(*ports):
        ready, told = os.pipe()
        child = os.fork()
        if child:
            os.read(ready, 1)
            return child
        listeners = [socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True) for port in ports]
        os.write(told, b"1")
        for listener in listeners * 2:
            listener.accept()[0].close()
        signal.pause()
    def call(address, port):
        try:
            with socket.create_connection((address, port)) as made:
                made.recv(1)
        except ConnectionRefusedError:
            pass
""")
# One child with two ports and another with one; all answer once, die, and refuse.
TWO_PORTS = SERVE + textwrap.dedent("""
    one, other = listening(9201, 9202), listening(9203)
    everything = [(address, port) for address in ("127.0.0.1", "::1") for port in (9201, 9202, 9203)]
    for each in everything:
        call(*each)
    for child in (one, other):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    for each in everything * 5:
        call(*each)
    print(one, other)
""")
# Three processes of a program, one after the other.
LOOP = SERVE + textwrap.dedent("""
    for _ in range(3):
        child = listening(9301)
        for address in ("127.0.0.1", "::1"):
            call(address, 9301)
        os.kill(child, signal.SIGSEGV)
        os.waitpid(child, 0)
        for _ in range(5):
            call("127.0.0.1", 9301)
        print(child)
""")


def ended(folder: Path, netns: int) -> dict[int, ListenerEnd]:
    """By port, of one namespace."""
    (recording,) = open_recordings([folder])
    found = [one for sample in recording.samples() for one in sample.ended if one.netns == netns]
    assert len({one.port for one in found}) == len(found), "each once"
    return {one.port: one for one in found}


def record(folder: Path, host: Host, program: str, *words: str) -> str:
    """Record a host while a program runs on it; what that printed."""
    inside = host.inside([sys.executable, "-c", program, *words])
    done = subprocess.run(
        [*COMMAND, "record", "-o", str(folder), "--netns", str(host.netns), "--", *inside],
        capture_output=True,
        text=True,
        timeout=patient(100),
        env=environment(),
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_only_of_processes_that_die(tmp_path: Path) -> None:
    words = ["9101:0", "9102:9", "9103:11"]
    with alone() as host:
        record(tmp_path, host, CHILDREN, *words)
        found = ended(tmp_path, host.netns)
    assert {*found} == {9102, 9103}, "9101 was closed by a process that lived"
    killed, crashed = found[9102], found[9103]
    assert (killed.address, crashed.address) == ("0.0.0.0", "::")  # noqa: S104 (as it was bound)
    assert killed.exit_code & 127 == signal.SIGKILL
    assert crashed.exit_code & 127 == signal.SIGSEGV
    assert killed.pid != crashed.pid
    assert killed.comm.startswith("python")
    assert not killed.oom


def incidents(folder: Path, program: str) -> tuple[list[int], Sequence[Incident]]:
    """The pids that a program prints, and what a report says of its recording."""
    with alone() as host:
        printed = record(folder, host, program)
    found = build(open_recordings([folder]), utc=True).incidents
    return [*map(int, printed.split())], found


def test_a_process_with_several_ports_dies_once(tmp_path: Path) -> None:
    """Near miss: another process that died in the same moment is another incident."""
    (one, other), found = incidents(tmp_path, TWO_PORTS)
    assert [each.kind for each in found] == ["kill", "kill"]
    reach = {each.actor.pid: each.total for each in found if each.actor is not None}
    assert reach == {one: 20, other: 10}


def test_a_server_that_dies_again_and_again_is_a_loop(tmp_path: Path) -> None:
    """It holds no connection when it dies."""
    pids, (one,) = incidents(tmp_path, LOOP)
    assert one.actor is not None
    assert (one.kind, one.deaths, one.total) == ("crash-loop", 3, 15)
    assert (one.actor.pid, one.actor.signal) == (pids[0], "SIGSEGV")
