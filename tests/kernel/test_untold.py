# SPDX-License-Identifier: Apache-2.0
"""What excuses a report that lacks something: the kernel's own buffer shows what no program was told."""

from __future__ import annotations

import errno
import os
import socket
import subprocess
import sys

from tests.kernel.kit.untold import Event, watch
from tracetw.host import netns
from tracetw.host.netns import Netns

BUSY = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
os.nice(-20)
print(flush=True)
while True:
    pass
"""
TRIES = 10
"""Its CPU may have others to run at that moment."""


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
            for _ in range(TRIES):
                assert run(attempt) == errno.ETIMEDOUT
                if theirs.events():
                    break
            assert Event("inet_sock_set_state", ports) in theirs.events()
            assert ours.events() == []
    finally:
        busy.kill()
        busy.communicate()
