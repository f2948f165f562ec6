# SPDX-License-Identifier: Apache-2.0
"""Labs and tests that SIGKILL ends: no tracer, no stopped process and no namespace stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tracetw.lab.net.host import NETNS_DIR
from tracetw.lab.play.child import COMMAND, environment
from tracetw.lab.polling import eventually

ROOT = Path(__file__).parents[2]
GUARD = b"TRACETW_GUARD_"
# Stands still; is in a session of its own, after two forks; has just made a namespace and a group.
LAB = """
import os, signal, sys, time
from tracetw.lab.net.cgroup import joined
from tracetw.lab.net.host import Host
from tracetw.lab.net.reaper import guarded
from tracetw.lab.net.spawn import popen
with guarded():
    stopped = popen(["sleep", "1000"])
    os.kill(stopped.pid, signal.SIGSTOP)
    popen(["sh", "-c", "setsid sleep 1000 & exit"]).wait()
    host = Host(f"lab-{os.getpid()}-x", "a", {})
    with joined(stopped.pid) as group:
        print(group, flush=True)
        if sys.argv[1] == "end":
            stopped.kill()
            stopped.wait()
        else:
            time.sleep(1000)
"""


def guards(pid: int) -> set[bytes]:
    """The variables by which the watchers know a process."""
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return set()
    return {variable for variable in variables if variable.startswith(GUARD)}


def guarded_apart() -> list[int]:
    """Processes of a lab that this process started, not those of somebody else's."""
    mine = {name for name in map(os.fsencode, os.environ) if name.startswith(GUARD)}
    assert mine, "these tests run guarded: tests/conftest.py"
    pids = [int(path.name) for path in Path("/proc").glob("[0-9]*")]
    names = {pid: {each.split(b"=")[0] for each in guards(pid)} for pid in pids}
    return [pid for pid in pids if mine < names[pid]]


def namespaces(pid: int) -> list[str]:
    return [path.name for path in NETNS_DIR.glob(f"lab-{pid}-*")]


def watchers(pid: int) -> list[int]:
    """Those that watch a process."""
    words = b"\0tracetw.lab.net.reaper\0%d\0" % pid
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if words in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def start(*words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [
            sys.executable,
            "-I",
            "-c",
            f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{LAB}",
            *words,
        ],
        stdout=subprocess.PIPE,
        env=environment(),
    )


def test_whatever_it_started_is_gone() -> None:
    with start("stay") as lab:
        assert lab.stdout
        group = Path("/sys/fs/cgroup", lab.stdout.readline().decode().strip().lstrip("/"))
        assert namespaces(lab.pid)
        assert len(guarded_apart()) >= 2
        watching = watchers(lab.pid)
        assert len(watching) == 1
        lab.kill()
    eventually(lambda: not watchers(lab.pid))
    assert guarded_apart() == []
    assert namespaces(lab.pid) == []
    assert group == Path("/sys/fs/cgroup/None") or not group.exists()


def test_what_ends_by_itself_is_left_alone() -> None:
    """Namespaces that are to be kept stay, and so does what it started and let go of."""
    with start("end") as lab:
        assert lab.wait(60) == 0
    try:
        assert namespaces(lab.pid)
        assert watchers(lab.pid) == []
        assert len(guarded_apart()) == 1
    finally:
        for pid in guarded_apart():
            os.kill(pid, signal.SIGKILL)
        for name in namespaces(lab.pid):
            subprocess.run(["ip", "netns", "del", name], check=True)


def _lab() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*COMMAND, "lab", "run", "--all"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment(),
    )


def _tests() -> subprocess.Popen[bytes]:
    words = ["-p", "no:cacheprovider", "-x", "-q", "tests/kernel/test_lab.py"]
    return subprocess.Popen(
        [sys.executable, "-I", "-m", "pytest", *words],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("start", [_lab, _tests], ids=["lab", "pytest"])
@pytest.mark.parametrize("after", [1, 5])
def test_killed_while_it_plays(start: Callable[[], subprocess.Popen[bytes]], after: int) -> None:
    with start() as process:
        eventually(lambda: len(namespaces(process.pid)) >= after, deadline_s=60)
        process.kill()
    eventually(lambda: not watchers(process.pid))
    assert guarded_apart() == []
    assert namespaces(process.pid) == []


def test_a_run_from_a_background_job() -> None:
    """A script without job control starts it with SIGINT ignored; the tests send it to what they start."""
    script = """trap '' INT; exec "$@" """
    pytest_ = [sys.executable, "-I", "-m", "pytest", "-p", "no:cacheprovider", "-q"]
    tests = ["tests/kernel/test_trace_cli.py", "tests/kernel/test_lab_cli.py"]
    chosen = "ctrl_c or (interrupted and to_all and 1-what0)"
    done = subprocess.run(
        ["sh", "-c", script, "sh", *pytest_, *tests, "tests/unit/test_lab_spawn.py", "-k", chosen],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "4 passed" in done.stdout
