# SPDX-License-Identifier: Apache-2.0
"""A sentence about a snapshot, with a code by which programs know it."""

from __future__ import annotations

from typing import NamedTuple

CODES = {
    "unread": "a namespace could not be read",
    "ports-run-out": "local ports run out, or have run out",
    "bound-first": "clients call bind() before connect(), which holds ports for every destination",
    "server-closes-first": "the server carries what its clients would carry",
    "client-closes-first": "this host closes first as a client",
    "why": "why the server closes first, from a recording",
    "reuse": "whether tcp_tw_reuse would help, and what it costs",
    "recycle": "what tcp_tw_recycle was",
    "buckets": "TIME_WAIT buckets are nearly used up, or were",
    "blocks-listen": "TIME_WAIT or another socket keeps a port from a listener",
    "fin-wait2-owned": "sockets in FIN_WAIT2 that a process holds, without limit",
    "orphans": "sockets that no process holds, with data or FIN not acknowledged",
}
"""All codes, and what each is about."""


class Note(NamedTuple):
    """One sentence or two.

    ``netns`` is the inode of the namespace; None for the host.
    """

    code: str
    netns: int | None
    text: str
