# SPDX-License-Identifier: Apache-2.0
"""What a kernel may keep from every tracing program: events in softirqs that interrupt a thread of init.

One kernel was met that does (README, limits). Its own trace buffer shows these events all the same, which
proves for a connection that something was not told, and of what kind.
"""

from __future__ import annotations

import re
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

__all__ = ["Event", "Watch", "watch"]

EVENTS = (
    "sock/inet_sock_set_state",
    "sock/inet_sk_error_report",
    "tcp/tcp_destroy_sock",
    "tcp/tcp_receive_reset",
    "tcp/tcp_retransmit_skb",
    "tcp/tcp_send_reset",
)
IN_SOFTIRQ = 0x10
"""``TRACE_FLAG_SOFTIRQ`` of include/linux/trace_events.h."""
LINE = re.compile(r": (?P<name>\w+): .*\bsport=(?P<sport>\d+) dport=(?P<dport>\d+)")


@dataclass(frozen=True, slots=True)
class Event:
    """One event: the name of its tracepoint, and the ports of its socket in no order."""

    name: str
    ports: frozenset[int]


@dataclass(frozen=True, slots=True)
class Watch:
    """An instance of the kernel's trace buffer; None: this kernel has none, so nothing is proven."""

    instance: Path | None

    def events(self) -> list[Event]:
        """What came so far."""
        if self.instance is None:
            return []
        return [*parse((self.instance / "trace").read_text(encoding="utf-8", errors="replace"))]

    def count(self, name: str) -> int:
        """How many of a tracepoint came so far."""
        return sum(event.name == name for event in self.events())


def parse(text: str) -> Iterator[Event]:
    """Events as the file ``trace`` of an instance shows them."""
    for found in LINE.finditer(text):
        ports = frozenset((int(found["sport"]), int(found["dport"])))
        yield Event(found["name"], ports)


@contextmanager
def watch(process: int = 1) -> Iterator[Watch]:
    """Watch softirqs that interrupt the threads that ``process`` has now. The buffer goes with the context."""
    if "\ttracefs\n" not in Path("/proc/filesystems").read_text(encoding="ascii"):
        yield Watch(None)
        return
    with ExitStack() as undo:
        folder = undo.enter_context(TemporaryDirectory())
        subprocess.run(["mount", "-t", "tracefs", "tracefs", folder], check=True, timeout=30)
        undo.callback(subprocess.run, ["umount", folder], check=True, timeout=30)
        instance = Path(folder, "instances", f"tracetw-{secrets.token_hex(4)}")
        instance.mkdir()
        undo.callback(instance.rmdir)
        threads = [int(path.name) for path in Path(f"/proc/{process}/task").iterdir()]
        theirs = " || ".join(f"common_pid == {thread}" for thread in threads)
        for name in EVENTS:
            event = instance / "events" / name
            with suppress(FileNotFoundError):  # an older kernel
                (event / "filter").write_text(f"common_flags & {IN_SOFTIRQ} && ({theirs})")
                (event / "enable").write_text("1")
        yield Watch(instance)
