# SPDX-License-Identifier: Apache-2.0
"""What ``tracetw timewait`` says of a host when the play is over."""

from __future__ import annotations

from typing import Any

from tracetw.lab.net.host import Host
from tracetw.timewait.document import document
from tracetw.timewait.look import Look
from tracetw.timewait.snapshot import take


def left(host: Host) -> dict[str, Any]:
    """The JSON of ``tracetw timewait`` for a host: its ``sockets``, and the first rows of two tables.

    ``port`` is the local port with the most sockets, ``forecast`` the destination whose ports run out
    first; both are empty where there is none.
    """
    found = document(Look(take(host.netns)), 1)
    first = {"port": found["by_port"], "forecast": found["forecast"]}
    return {
        "sockets": found["sockets"],
        **{name: rows[0] if rows else {} for name, rows in first.items()},
    }
