# SPDX-License-Identifier: Apache-2.0
"""Listeners that closed as their process died, as a sample tells of them."""

from __future__ import annotations

import socket
from collections.abc import Iterator

from tracetw.event.fields import Rows
from tracetw.event.record import F_OOM
from tracetw.host.clock import Clock
from tracetw.recording.facts import ListenerEnd
from tracetw.stream.batch import Context
from tracetw.text import decoded

_MOST = 4096
_MAPPED = bytes(10) + b"\xff\xff"


def _addresses(rows: Rows) -> Iterator[str]:
    for family, packed in zip(rows["family"].tolist(), rows["laddr"], strict=True):
        raw = packed.tobytes()
        if family == socket.AF_INET6 and raw[:12] != _MAPPED:
            yield socket.inet_ntop(socket.AF_INET6, raw)
        else:
            yield socket.inet_ntop(
                socket.AF_INET, raw[12:] if family == socket.AF_INET6 else raw[:4]
            )


def ended(context: Context) -> tuple[ListenerEnd, ...]:
    """Since it was last asked, of the namespaces that are traced."""
    rows: Rows = context.listener_ends()[:_MOST]
    traced = context.scope.netns
    at = Clock.now().to_wall_ns(rows["at"].astype("i8"))
    return tuple(
        ListenerEnd(
            time_ns=int(moment),
            netns=int(row["netns"]),
            address=address,
            port=int(row["lport"]),
            pid=int(row["pid"]),
            comm=decoded(bytes(row["comm"])),
            exit_code=int(row["exit_code"]),
            oom=bool(row["flags"] & F_OOM),
            cgroup=context.cgroup_path(int(row["cgroup"])) if row["cgroup"] else None,
        )
        for row, moment, address in zip(rows, at, _addresses(rows), strict=True)
        if traced is None or int(row["netns"]) in traced
    )
