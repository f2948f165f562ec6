# SPDX-License-Identifier: Apache-2.0
"""What excuses a report that lacks something: the kernel's own buffer shows what no program was told."""

from __future__ import annotations

import errno
import os
import re
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.kernel.kit.untold import EVENTS, USUAL, Event, parse, watch
from tracetw.host import netns
from tracetw.host.netns import Netns
from tracetw.lab.play.child import ROOT

BUSY = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
os.nice(-20)
print(flush=True)
while True:
    pass
"""
CONFTEST = """
from contextlib import contextmanager
from tests.kernel.kit import again
from tests.kernel.kit.untold import Event, Watch

class Shown(Watch):
    def events(self):
        return [Event("tcp_destroy_sock", 1, frozenset((1, 2)))] * KEPT

@contextmanager
def watch():
    yield Shown(None)

again.watch = watch

def pytest_runtest_protocol(item, nextitem):
    return again.run(item, nextitem)
"""
TESTS = """
import itertools, pytest

TURN = itertools.count()

@pytest.fixture(scope="module")
def turn():
    yield next(TURN)

def test_right_at_once(turn):
    pass

def test_right_the_third_time(turn):
    assert turn == 2

def test_wrong(turn):
    assert turn < 0
"""
TRIES = 10
"""Its CPU may have others to run at that moment."""


def test_a_watch_does_not_end_with_that_of_another_run() -> None:
    """Which mounts the kernel's files for itself where the system does not, and takes the mount away."""
    with ExitStack() as second:
        with watch() as first:
            watching = second.enter_context(watch())
            if first.instance is not None and watching.instance is not None:
                mounts = first.instance.parents[1], watching.instance.parents[1]
                assert mounts[0] != mounts[1] or str(mounts[0]) in USUAL
        watching.follow()


def test_a_timer_that_interrupts_a_process_is_seen(ns: Netns, silent: tuple[str, int]) -> None:
    cpu = min(os.sched_getaffinity(0))

    def attempt() -> int:
        os.sched_setaffinity(0, {cpu})  # of this thread, which is the namespace's own
        with socket.socket() as sock:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 500)
            sock.bind(("", 4321))
            return sock.connect_ex(silent)

    busy = subprocess.Popen([sys.executable, "-c", BUSY, str(cpu)], stdout=subprocess.PIPE)
    try:
        assert busy.stdout is not None
        busy.stdout.readline()
        ports = frozenset((4321, silent[1]))
        with (
            watch(busy.pid) as theirs,
            watch(os.getpid()) as ours,
            netns.inside(ns) as run,
        ):
            if theirs.instance is None:
                pytest.skip("no tracefs, or not in the first pid namespace")
            began = time.time_ns()
            for _ in range(TRIES):
                assert run(attempt) == errno.ETIMEDOUT
                mine = [event for event in theirs.events() if event.ports == ports]
                closed = [event for event in mine if event.name == "inet_sock_set_state"]
                if closed:
                    break
            assert closed
            assert all(began < event.at_ns < time.time_ns() for event in closed)
            assert ours.events() == []
    finally:
        busy.kill()
        busy.communicate()


def test_each_event_is_understood() -> None:
    """As Linux 6.18 prints them; before 6.10 tcp_send_reset was like tcp_receive_reset."""
    head = "   init-1       [001] ..s1. 13743.832048: "
    sock = "family=AF_INET sport=7000 dport=40000 saddr=10.0.0.2 daddr=10.0.0.1"
    text = "".join(
        f"{head}{line}\n"
        for line in (
            f"inet_sock_set_state: protocol=IPPROTO_TCP {sock} oldstate=TCP_LISTEN newstate=TCP_SYN_RECV",
            f"inet_sk_error_report: {sock} error=104",
            f"tcp_destroy_sock: {sock} sock_cookie=b0f34",
            f"tcp_receive_reset: {sock} sock_cookie=b0f34",
            f"tcp_retransmit_skb: skbaddr=0 skaddr=0 {sock} state=TCP_SYN_SENT err=0",
            "tcp_send_reset: skbaddr=0 skaddr=0 src=[fd99::2]:7000 dest=[fd99::1]:40000 state=UNKNOWN",
        )
    )
    ports = frozenset({7000, 40000})
    assert {*parse(text, 5)} == {
        Event(name.partition("/")[2], 13_743_832_048_005, ports) for name in EVENTS
    }


@pytest.mark.parametrize(
    ("kept", "outcomes", "turns"),
    [
        (0, {"passed": 1, "failed": 2}, ["0 == 2", "0 < 0"]),
        (1, {"passed": 2, "failed": 1}, ["4 < 0"]),
    ],
)
def test_what_failed_runs_again_from_new_fixtures_if_events_were_kept(
    tmp_path: Path, kept: int, outcomes: dict[str, int], turns: list[str]
) -> None:
    (tmp_path / "conftest.py").write_text(f"KEPT = {kept}\n{CONFTEST}", encoding="utf-8")
    (tmp_path / "test_some.py").write_text(TESTS, encoding="utf-8")
    (tmp_path / "pytest.ini").touch()
    quiet = ("-p", "no:cacheprovider", "-o", "addopts=", "-q", "-rN")
    command = [sys.executable, "-m", "pytest", *quiet, "."]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    for outcome, number in outcomes.items():
        assert f"{number} {outcome}" in done.stdout
    assert [*re.findall(r"assert (\d+ \S+ \d+)", done.stdout)] == turns
    assert done.stdout.count("runs again") == (4 if kept else 0)
