# SPDX-License-Identifier: Apache-2.0
"""A throw-away network namespace for the storm, so that no setting of the host is touched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from scripts.benchmark.errors import BenchError
from tracetw.lab.net.host import Host, alone
from tracetw.lab.polling import NotPlayed

# Room for every TIME_WAIT of a round: 60 s worth of connections.
TIMEWAIT_BUCKETS = 4_000_000


@contextmanager
def storm_host() -> Iterator[Host]:
    """Goes with the context. Raises BenchError when it cannot be made."""
    with ExitStack() as stack:
        try:
            room = alone(tcp_max_tw_buckets=TIMEWAIT_BUCKETS, ip_local_port_range="1024 65535")
            host = stack.enter_context(room)
        except (NotPlayed, OSError) as error:
            raise BenchError(f"cannot make a network namespace: {error}") from error
        yield host
