# SPDX-License-Identifier: Apache-2.0
"""A throw-away network namespace for the storm, so that no setting of the host is touched."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import TracebackType

from scripts.benchmark.errors import BenchError

__all__ = ["TIMEWAIT_BUCKETS", "Namespace"]

# Room for every TIME_WAIT of a round: 60 s worth of connections.
TIMEWAIT_BUCKETS = 4_000_000
SETUP = f"""ip link set lo up &&
echo {TIMEWAIT_BUCKETS} > /proc/sys/net/ipv4/tcp_max_tw_buckets &&
echo 1024 65535 > /proc/sys/net/ipv4/ip_local_port_range &&
echo ready && exec cat"""
DEADLINE_S = 10.0


class Namespace:
    """Lives while in its context. ``inode`` (int) is its number in JSON.

    A child holds it that ends with its standard input: no residue, whatever ends this process.
    Raises BenchError when it cannot be made.
    """

    def __init__(self) -> None:
        self._holder = subprocess.Popen(
            ["unshare", "--net", "--", "sh", "-c", SETUP],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self._holder.stdout is not None  # noqa: S101 - asked for above
        if self._holder.stdout.readline() != b"ready\n":
            _, said = self._holder.communicate(timeout=DEADLINE_S)
            raise BenchError(f"cannot make a network namespace: {said.decode().strip()}")
        self.inode = Path(f"/proc/{self._holder.pid}/ns/net").stat().st_ino

    def inside(self, command: list[str]) -> list[str]:
        """The command that runs ``command`` in here."""
        return ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net", "--", *command]

    def counter(self, name: str) -> int:
        """A counter of the kernel's TCP table (/proc/net/snmp) in here, such as EstabResets."""
        table = Path(f"/proc/{self._holder.pid}/net/snmp").read_text()
        names, values = (line.split() for line in table.splitlines() if line.startswith("Tcp: "))
        return int(values[names.index(name)])

    def __enter__(self) -> Namespace:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._holder.communicate(timeout=DEADLINE_S)
