# SPDX-License-Identifier: Apache-2.0
"""A socket that listens, as samples and recordings have it."""

from __future__ import annotations

from typing import NamedTuple

MOST_LISTENERS = 4096
"""Of a host at one time: those with the lowest ports of the first namespaces."""


class Listening(NamedTuple):
    """A socket that listens, and the process that holds it; None each where that is not known for certain.

    Attributes:
        netns: inode of its network namespace.
        address: that it is bound to, as ``inet_ntop``; ``::ffff:`` in front of an IPv4 one of an IPv6 socket.
        port: host order.
        pid, comm, uid: of what all its holders have in common.
        cgroup: path of the holder's control group.
    """

    netns: int
    address: str
    port: int
    pid: int | None = None
    comm: str | None = None
    uid: int | None = None
    cgroup: str | None = None
