# SPDX-License-Identifier: Apache-2.0
"""The floor of every tracer: a program that does nothing on the same hook, held by a process that sleeps."""

from __future__ import annotations

import os
import signal
import sys

from scripts.benchmark.bpf import empty_program

__all__ = ["main"]

HOOK = "inet_sock_set_state"


def main(ready_fd: int) -> None:
    """Attach, write one byte to ``ready_fd``, wait for SIGINT."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    with empty_program(HOOK):
        os.write(ready_fd, b"\n")
        signal.sigwait({signal.SIGINT})


if __name__ == "__main__":
    main(int(sys.argv[1]))
