# SPDX-License-Identifier: Apache-2.0
"""Attempts that never became a connection, and connections whose ground was taken away."""

from __future__ import annotations

import fcntl
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tracetw.host.netns import find
from tracetw.lab.expect.lines import born, client, got_reset, sent_reset, server, timed_out
from tracetw.lab.expect.match import SOME, at_least, one_of, path
from tracetw.lab.expect.scenario import Scenario
from tracetw.lab.net.fault import SYN_ACKS, SYNS
from tracetw.lab.net.topology import Net
from tracetw.lab.polling import eventually, require
from tracetw.lab.scenarios.moves import abort

__all__ = ["SCENARIOS"]

MSG_FASTOPEN = 0x20000000
# Documentation/networking/ip-sysctl: 1 client, 2 server, 4 and 0x200 without a cookie.
FAST_OPEN = {"a": {"tcp_fastopen": 0x5}, "b": {"tcp_fastopen": 0x202}}
TCP_FASTOPEN = 23

MISSED_S = 100.0
MAX_ORPHANS = Path("/proc/sys/net/ipv4/tcp_max_orphans")
ORPHANS = 12
BELOW_ANY = -1
"""A limit below our few orphans will not do: before 19757cebf0c5 (5.16) tcp_too_many_orphans() looks at a counter
first that lacks up to 31 of each CPU."""
ORPHAN_SUM_S = 0.12
# An orphan has no process to which the kernel could report an error.
UNSEEN = one_of("ECONNRESET", None)


def give_up_connecting(net: Net) -> None:
    net.drop(net.b, SYNS)
    end = net.client()
    end.setblocking(False)
    require(end.connect_ex(net.server) != 0, "connected")
    eventually(lambda: net.a.states() == ["SYN_SENT"])
    net.step("the application gives up before the kernel does")
    end.close()
    eventually(lambda: net.a.states() == [])


def fast_open_and_vanish(net: Net) -> None:
    """B's socket exists from the SYN on; A is gone before the SYN+ACK arrives."""
    listener = net.listen()
    listener.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN, 8)
    drop = net.drop(net.a, SYN_ACKS)
    end = net.client()
    end.setblocking(False)
    end.sendto(b"hello", MSG_FASTOPEN, net.server)
    accepted_end = net.keep(listener.accept()[0])
    eventually(lambda: net.b.states() == ["SYN_RECV"])
    net.step("B has accepted by TCP Fast Open; A does not hear of it and gives up")
    end.close()
    eventually(lambda: net.a.states() == [])
    drop.lift()
    net.step("SYN+ACKs arrive again, but A knows of nothing")
    eventually(lambda: net.b.states() == [])
    accepted_end.close()


def fast_open_and_close_early(net: Net) -> None:
    """B answers and closes before its SYN+ACK has arrived: it is never ESTABLISHED."""
    listener = net.listen()
    listener.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN, 8)
    drop = net.drop(net.a, SYN_ACKS)
    end = net.client()
    end.setblocking(False)
    end.sendto(b"hello", MSG_FASTOPEN, net.server)
    accepted_end = net.keep(listener.accept()[0])
    require(accepted_end.recv(100) == b"hello", "B did not receive")
    accepted_end.close()
    require(net.b.states() == ["FIN_WAIT1"], "B's end is not in FIN_WAIT1")
    net.step("B has read the data of the SYN and has closed")
    drop.lift()
    eventually(lambda: net.b.states() == ["FIN_WAIT2"])
    end.close()
    eventually(lambda: net.b.states() == ["TIME_WAIT"])


def remove_under_timewait_socket(net: Net) -> None:
    link = net.connect()
    port = link.a.getsockname()[1]
    link.a.close()
    eventually(lambda: net.a.states() == ["FIN_WAIT2"])
    net.destroy("a", port)
    # No hook sees a timewait socket go with its namespace: tracetw reports it once it must be gone.
    eventually(lambda: net.reported("a") == 1, MISSED_S)
    # If another namespace had its number, tracetw could not say that the old one is gone.
    require(net.a.netns not in find(), "somebody outside of the lab got the namespace's number")
    abort(link.b)


def remove_under_orphan(net: Net) -> None:
    link = net.connect()
    port = link.a.getsockname()[1]
    net.drop(net.b)
    link.a.close()
    require(net.a.states() == ["FIN_WAIT1"], "A's FIN arrived")
    net.destroy("a", port)
    eventually(lambda: net.reported("a") == 1)
    abort(link.b)


def keep_awake() -> None:
    """No CPU has slept for a while.

    The kernel looks at a sum of orphans that a deferrable timer makes every 100 ms
    (tcp_orphan_update): where CPUs sleep it may be long out of date.
    """
    usual = os.sched_getaffinity(0)
    try:
        for cpu in usual:
            os.sched_setaffinity(0, {cpu})
            end = time.monotonic() + ORPHAN_SUM_S
            while time.monotonic() < end:
                pass
    finally:
        os.sched_setaffinity(0, usual)


@contextmanager
def lowered(setting: Path, value: int) -> Iterator[None]:
    """A setting of the whole machine is ``value`` meanwhile, and no other lab changes it."""
    with setting.open("r+", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        before = file.read()
        setting.write_text(f"{value}\n", encoding="ascii")
        try:
            yield
        finally:
            setting.write_text(before, encoding="ascii")


def too_many_orphans(net: Net) -> None:
    """The limit is of the whole machine: it is lowered below our own orphans for a moment."""
    listener = net.listen(backlog=ORPHANS + 1)
    links = [net.dial(listener) for _ in range(ORPHANS + 1)]
    net.drop(net.b)
    for link in links[1:]:
        link.a.close()
    require(len(net.a.states()) == ORPHANS + 1, "an orphan has gone")
    # Their third retransmission has been, and their next is far enough, on a busy machine too.
    eventually(lambda: net.a.counters()["RetransSegs"] >= 3 * ORPHANS)
    keep_awake()
    net.step(f"{ORPHANS} orphans wait for the ACK of their FIN; the limit is less; one more closes")
    with lowered(MAX_ORPHANS, BELOW_ANY):
        links[0].a.close()
    eventually(lambda: net.a.states() == ["FIN_WAIT1"] * ORPHANS)
    net.step("the last one has gone; B aborts the others")
    for link in links:
        abort(link.b)
    eventually(lambda: net.a.states() == net.b.states() == [])


def orphan_limit_out_of_reach() -> str | None:
    """The limit belongs to the initial namespace."""
    return None if MAX_ORPHANS.exists() else f"no {MAX_ORPHANS} here"


SCENARIOS = (
    Scenario(
        name="connect-given-up",
        claim="The application closes while the kernel still tries to connect.",
        play=give_up_connecting,
        a=client(
            verdict="connect-aborted",
            closed_by="app",
            states=path("SYN_SENT", "CLOSE"),
            time_wait="none",
            owner_from="close",
        ),
        b=None,
        wire={"A>B SYN": at_least(1), "B>A": 0, "RST": 0},
        # tcp_disconnect sets CLOSE itself; only tcp_done counts a failed attempt.
        counters={"a": {"AttemptFails": 0, "OutRsts": 0}},
    ),
    Scenario(
        name="accept-aborted",
        claim="TCP Fast Open handed a connection to the application before the handshake was"
        " complete, and it never completed.",
        play=fast_open_and_vanish,
        sysctls=FAST_OPEN,
        a=client(
            verdict="connect-aborted",
            states=path("SYN_SENT", "CLOSE"),
            bytes_sent=5,
            bytes_unacked=5,
            bytes_acked=0,
        ),
        b=server(verdict="accept-aborted", states=path("SYN_RECV", "CLOSE"), reset=SOME),
        wire={"A>B SYN": at_least(1), "B>A SYN ACK": at_least(2), "A>B RST": at_least(1)},
        order=("A>B SYN", "B>A SYN ACK", "B>A SYN ACK", "A>B RST"),
        counters={"a": {"OutRsts": 1}, "b": {"AttemptFails": at_least(1), "EstabResets": 0}},
        seconds=1.5,
    ),
    Scenario(
        name="fast-open-closed-early",
        claim="A TCP Fast Open server that answers and closes at once goes from SYN_RECV to FIN_WAIT1:"
        " an orderly close without ESTABLISHED.",
        play=fast_open_and_close_early,
        sysctls=FAST_OPEN,
        a=client(verdict="orderly", first_close="remote", time_wait="remote"),
        b=server(
            verdict="orderly",
            first_close="local",
            closed_by="app",
            time_wait="local",
            states=path("SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT"),
            bytes_received=5,
        ),
        events={"b": {"entered": 1}},
        wire={
            "A>B SYN DATA": at_least(1),
            "B>A SYN ACK": at_least(2),
            "B>A FIN": at_least(1),
            "RST": 0,
        },
        counters={"b": {"TW": born(1), "TCPFastOpenPassive": 1}},
        seconds=5,
    ),
    Scenario(
        name="namespace-gone",
        claim="A container goes while its connection waits in FIN_WAIT2: the kernel drops it with the"
        " namespace.",
        play=remove_under_timewait_socket,
        a=client(verdict="namespace-gone", closed_by="netns-exit", first_close="local"),
        b=server(verdict="abort-linger"),
        wire={"A>B FIN": 1, "B>A FIN": 0},
        counters={},
        seconds=75,
        removes=True,
    ),
    Scenario(
        name="orphan-outlives-container",
        claim="A container goes while its FIN is unacknowledged: the orphan holds the namespace until"
        " it gives up.",
        play=remove_under_orphan,
        sysctls={"a": {"tcp_orphan_retries": 1}},
        a=client(**timed_out("fin-exhausted", error=SOME, first_close="local")),
        b=server(verdict="abort-linger"),
        wire={"A>B FIN": at_least(2), "B>A FIN": 0},
        counters={},
        seconds=2,
        removes=True,
    ),
    Scenario(
        name="orphan-limit",
        claim="Too many orphans (tcp_max_orphans): close() resets one more.",
        play=too_many_orphans,
        a=(
            client(**sent_reset("abort-memory", "TCP_ABORT_ON_MEMORY", closed_by="kernel-memory")),
            *(client(**got_reset(ack=True, first_close="local", error=UNSEEN)),) * ORPHANS,
        ),
        b=(server(verdict="abort-linger"),) * (ORPHANS + 1),
        wire={"A>B RST ACK": 1, "A>B FIN": at_least(3 * ORPHANS), "B>A RST ACK": ORPHANS + 1},
        counters={
            "a": {"TCPAbortOnMemory": 1, "TCPAbortOnTimeout": 0},
            "b": {"OutRsts": ORPHANS + 1},
        },
        seconds=4,
        alone=True,
        needs=orphan_limit_out_of_reach,
    ),
)
