# SPDX-License-Identifier: Apache-2.0
"""Reports to look at: ordinary ones, and those with all that is long, much or nothing."""

from __future__ import annotations

import numpy as np

from tests.unit.report_rows import Memory, connections, outage, traffic
from tracetw.report.build import build
from tracetw.report.model import Report

__all__ = ["LONG_HOST", "long_names", "many_days", "many_incidents", "nothing", "two_ends"]

LONG_HOST = "a-very-long-host-name-of-a-node-in-eu-central-1.example.internal"
_HERE, _THERE = "2001:db8:1234:5678:9abc:def0:1234:5678", "2001:db8:ffff:eeee:dddd:cccc:bbbb:aaaa"


def two_ends(other: str = "client-2") -> Report:
    """An outage, a rude client, and resets of which both ends were recorded."""
    ports, times = 50000 + np.arange(12), 1500.0 + np.arange(12)
    here = connections("peer-reset", times, remote="10.0.0.9", lport=443, rport=ports, server=True)
    there = connections("peer-reset", times, local="10.0.0.9", remote="10.0.0.1", lport=ports)
    return build(
        [Memory(*traffic(), *outage(), here), Memory(there, host=other, run="2")], utc=True
    )


def long_names() -> Report:
    """IPv6 addresses and ports of full length, long names, hundreds of peers and services."""
    ports, times = 50000 + np.arange(12), 1500.0 + np.arange(12)
    here = connections(
        "orderly-active", times, local=_HERE, remote=_THERE, lport=44300, rport=ports, server=True
    )
    there = connections(
        "peer-reset", times, local=_THERE, remote=_HERE, lport=ports, rport=44300,
        comm=b"<b>wwwwwww</b>",
    )  # fmt: skip
    many = [
        connections(
            "peer-reset", np.array([100.0 + at]), remote=f"10.7.{at % 250}.1", rport=9000 + at
        )
        for at in range(240)
    ]
    return build([Memory(here, *many), Memory(there, host=LONG_HOST, run="2")], utc=True)


def many_days() -> Report:
    """Three days: every time is written with its day."""
    seconds = 3 * 86_400.0
    ends = np.sort(np.random.default_rng(5).uniform(0, seconds, 900))
    rows = connections("peer-reset", ends, remote="10.0.0.3")
    return build([Memory(rows, *outage(100_000), seconds=seconds)], utc=True)


def many_incidents(name: bytes = b"worker") -> Report:
    """Sixteen services that refuse, one after the other."""
    refused = [
        connections(
            "connect-refused",
            100.0 + 200 * at + np.arange(30) * 0.5,
            remote=f"10.8.0.{at + 1}",
            rport=8000 + at,
            comm=name,
        )
        for at in range(16)
    ]
    return build([Memory(*traffic(), *refused)], utc=True)


def nothing() -> Report:
    """A recording without connections."""
    return build([Memory()], utc=True)
