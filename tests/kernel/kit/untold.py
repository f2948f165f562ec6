# SPDX-License-Identifier: Apache-2.0
"""What a kernel may keep from every tracing program: events in softirqs that interrupt a thread of init.

One kernel was met that does (README, limits). Its own trace buffer shows these events all the same. Other
kernels tell them, so that something came is no proof that it was kept: only that no more can have been.
Not watched: packets dropped, and the timers of TIME_WAIT, whose events name no socket.
"""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

__all__ = ["AMONG_THE_LAST", "EVENTS", "Event", "Watch", "parse", "watch"]

EVENTS = (
    "sock/inet_sock_set_state",
    "sock/inet_sk_error_report",
    "tcp/tcp_destroy_sock",
    "tcp/tcp_receive_reset",
    "tcp/tcp_retransmit_skb",
    "tcp/tcp_send_reset",
)
USUAL = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
IN_SOFTIRQ = 0x10
"""``TRACE_FLAG_SOFTIRQ`` of include/linux/trace_events.h."""
FIRST_PID_NAMESPACE = 0xEFFFFFFC
"""``PROC_PID_INIT_INO``: events name threads by their number there."""
THREADS = 150
"""How many threads a filter can name: it is at most a page long."""
AMONG_THE_LAST = 5
"""An end untold is noticed when the kernel uses its socket again: so many, at most, it no more does."""
LINE = re.compile(
    r" (?P<s>\d+)\.(?P<us>\d{6}): (?P<name>\w+): .*?"
    r"(?:\bsport=(?P<sport>\d+) dport=(?P<dport>\d+)|\bsrc=\S+:(?P<src>\d+) dest=\S+:(?P<dest>\d+))"
)


@dataclass(frozen=True, slots=True)
class Event:
    """One event: the name of its tracepoint, when (ns since the epoch), its two ports in no order."""

    name: str
    at_ns: int
    ports: frozenset[int]


@dataclass(frozen=True, slots=True)
class Watch:
    """An instance of the kernel's trace buffer; None: it cannot be had here, so nothing is shown.

    ``process`` is whose threads are watched.
    """

    instance: Path | None
    process: int = 1

    def follow(self) -> None:
        """Watch the threads that the process has now; those that it has begun since are not watched before."""
        if self.instance is None:
            return
        threads = sorted(int(path.name) for path in Path(f"/proc/{self.process}/task").iterdir())
        theirs = " || ".join(f"common_pid == {thread}" for thread in threads[:THREADS])
        wanted = f"common_flags & {IN_SOFTIRQ} && ({theirs})"
        for name in EVENTS:
            filtered = self.instance / "events" / name / "filter"
            with suppress(FileNotFoundError):  # an older kernel
                if filtered.read_text(encoding="utf-8").strip() != wanted:
                    filtered.write_text(wanted)

    def events(self) -> list[Event]:
        """What came so far."""
        if self.instance is None:
            return []
        boot_ns = time.time_ns() - time.monotonic_ns()
        text = (self.instance / "trace").read_text(encoding="utf-8", errors="replace")
        return [*parse(text, boot_ns)]

    def count(self, name: str, port: int | None = None) -> int:
        """How many of a tracepoint came so far, with this port on one of the sides."""
        return sum(
            event.name == name and (port is None or port in event.ports) for event in self.events()
        )


def parse(text: str, boot_ns: int = 0) -> Iterator[Event]:
    """Events as the file ``trace`` of an instance shows them, by the clock ``mono``."""
    for found in LINE.finditer(text):
        at_ns = boot_ns + int(found["s"]) * 10**9 + int(found["us"]) * 1000
        ports = (found["sport"] or found["src"], found["dport"] or found["dest"])
        yield Event(found["name"], at_ns, frozenset(map(int, ports)))


@contextmanager
def watch(process: int = 1) -> Iterator[Watch]:
    """Watch softirqs that interrupt the threads that ``process`` has now. The buffer goes with the context."""
    known = "\ttracefs\n" in Path("/proc/filesystems").read_text(encoding="ascii")
    if not known or Path("/proc/self/ns/pid").stat().st_ino != FIRST_PID_NAMESPACE:
        yield Watch(None)
        return
    with ExitStack() as undo:
        try:
            folder = undo.enter_context(_tracefs())
        except subprocess.CalledProcessError:  # it may not be mounted here
            yield Watch(None)
            return
        instances = Path(folder, "instances")
        for left in instances.glob("tracetw-*-*"):  # of a run that was killed
            if not Path("/proc", left.name.split("-")[1]).exists():
                with suppress(FileNotFoundError):  # another run has seen it, too
                    left.rmdir()
        instance = instances / f"tracetw-{os.getpid()}-{secrets.token_hex(4)}"
        instance.mkdir()
        undo.callback(instance.rmdir)
        (instance / "trace_clock").write_text("mono")
        watching = Watch(instance, process)
        watching.follow()
        for name in EVENTS:
            with suppress(FileNotFoundError):
                (instance / "events" / name / "enable").write_text("1")
        yield watching


@contextmanager
def _tracefs() -> Iterator[str]:
    """Where the system has it mounted, or else a mount that goes with the context: that of another run may go before."""
    for line in Path("/proc/mounts").read_text(encoding="utf-8").splitlines():
        _, folder, kind, *_ = line.split()
        if kind == "tracefs" and folder in USUAL:
            yield folder
            return
    folder = mkdtemp()
    mount = ["mount", "-t", "tracefs", "tracefs", folder]
    try:
        subprocess.run(mount, check=True, timeout=30, capture_output=True)
        try:
            yield folder
        finally:
            subprocess.run(["umount", "--lazy", folder], check=True, timeout=30)
    finally:
        os.rmdir(folder)  # noqa: PTH106 (never what is in it)
