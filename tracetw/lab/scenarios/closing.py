# SPDX-License-Identifier: Apache-2.0
"""Closes that a timer had to finish: FINs that nobody acknowledged, and one that never came."""

from __future__ import annotations

from tracetw.lab.expect.lines import (
    FORGETS,
    FORGOTTEN,
    LEFT_BEHIND,
    client,
    connected,
    limit,
    server,
    timed_out,
)
from tracetw.lab.expect.match import accepted, at_least, one_of
from tracetw.lab.expect.scenario import Scenario
from tracetw.lab.net.topology import Link, Net
from tracetw.lab.polling import eventually, require
from tracetw.lab.scenarios.moves import meet_nobody
from tracetw.lab.scenarios.timeout import LEFT_ON_THE_WIRE

__all__ = ["SCENARIOS"]

# An orphan has no application left to see it.
UNSEEN = one_of("ETIMEDOUT", None)


def close_into_the_void(net: Net) -> None:
    link = net.connect()
    drop = net.drop(net.b)
    link.a.close()
    eventually(lambda: net.a.states() == [])
    meet_nobody(net, link.b, drop)


def cross_into_the_void(net: Net) -> None:
    """B's FIN reaches A, nothing of A's reaches B."""
    link = net.connect()
    net.drop(net.b)
    link.a.close()
    link.b.close()
    net.step("both have closed, A has B's FIN and B not A's")
    eventually(lambda: net.a.states() == [])
    eventually(lambda: net.b.states() == [])


def answer_fin_into_the_void(net: Net) -> None:
    link = net.connect()
    link.a.close()
    eventually(lambda: net.a.states() == ["FIN_WAIT2"])
    drop = net.drop(net.a)
    link.b.close()
    eventually(lambda: net.b.states() == [])
    eventually(lambda: net.a.states() == [])
    require(drop.packets() > 1, "B's FIN was not sent again")


def outlive_fin_wait2(net: Net) -> None:
    _outlive(net, net.connect())


def outlive_linger2(net: Net) -> None:
    _outlive(net, net.connect(TCP_LINGER2=2))


def _outlive(net: Net, link: Link) -> None:
    """A closes and B does not until A has forgotten the connection."""
    link.a.close()
    net.step("A has closed, B has not")
    eventually(lambda: net.a.states() == [])
    net.step("A has forgotten the connection; B closes")
    link.b.close()
    eventually(lambda: net.b.states() == [])


SCENARIOS = (
    Scenario(
        name="fin-exhausted-fin-wait1",
        claim="The kernel retransmits a FIN that nobody acknowledges until tcp_orphan_retries, not"
        " tcp_retries2.",
        play=close_into_the_void,
        sysctls={"a": {"tcp_orphan_retries": 1}},
        a=client(
            **timed_out("fin-exhausted", error=UNSEEN, first_close="local"),
            states=connected("FIN_WAIT1", "CLOSE"),
            owner_from="close",
            retransmits={"total": at_least(1), "fin": at_least(1)},
            limit=limit("tcp_orphan_retries", 1, 500, 20_000),
            reset=None,
        ),
        b=server(**LEFT_BEHIND),
        wire={"A>B FIN": at_least(2), "B>A FIN": 0, **LEFT_ON_THE_WIRE},
        counters={"a": {"TCPAbortOnTimeout": 1, "TW": 0}},
        seconds=2,
    ),
    Scenario(
        name="fin-exhausted-closing",
        claim="The FINs crossed but nobody acknowledges ours: the kernel gives up in CLOSING.",
        play=cross_into_the_void,
        sysctls={"a": {"tcp_orphan_retries": 1}, "b": {"tcp_orphan_retries": 1}},
        a=client(
            **timed_out("fin-exhausted", error=UNSEEN, first_close=one_of("local", "both")),
            states=connected("FIN_WAIT1", "CLOSING", "CLOSE"),
            owner_from="close",
            retransmits={"total": at_least(1), "fin": at_least(1)},
            limit=limit("tcp_orphan_retries", 1, 500, 20_000),
            reset=None,
        ),
        b=server(
            **timed_out("fin-exhausted", error=UNSEEN, first_close=one_of("local", "both")),
            states=accepted("FIN_WAIT1", "CLOSE"),
            owner_from="close",
            limit=limit("tcp_orphan_retries", 1, 500, 20_000),
        ),
        wire={"A>B FIN": at_least(2), "B>A FIN": at_least(2)},
        counters={
            "a": {"TCPAbortOnTimeout": 1, "TW": 0},
            "b": {"TCPAbortOnTimeout": 1, "TW": 0},
        },
        seconds=3,
    ),
    Scenario(
        name="fin-exhausted-last-ack",
        claim="The second FIN gets no answer: the kernel gives up in LAST_ACK, while the first"
        " closer's FIN_WAIT2 runs out.",
        play=answer_fin_into_the_void,
        sysctls={"a": {"tcp_fin_timeout": 3}, "b": {"tcp_orphan_retries": 1}},
        a=client(
            **timed_out("fin-wait2-timeout", error=None, first_close="local"),
            states=connected("FIN_WAIT1", "FIN_WAIT2", "CLOSE"),
            limit=limit("tcp_fin_timeout", 3, 2900, 20_000),
            owner_from="close",
        ),
        b=server(
            **timed_out("fin-exhausted", error=UNSEEN, first_close="remote"),
            states=accepted("CLOSE_WAIT", "LAST_ACK", "CLOSE"),
            owner_from="close",
            retransmits={"total": at_least(1), "fin": at_least(1)},
            limit=limit("tcp_orphan_retries", 1, 500, 20_000),
        ),
        events={"a": {"fin-wait2": 1, "entered": 0}},
        wire={"A>B FIN": 1, "B>A FIN": at_least(2), "RST": 0},
        counters={
            "a": {"OutRsts": 0, "TW": 0, "TWKilled": 1},
            "b": {"TCPAbortOnTimeout": 1},
        },
        seconds=4,
    ),
    Scenario(
        name="fin-wait2-timeout",
        claim="The peer never closes: the kernel drops the orphan in FIN_WAIT2 after"
        " tcp_fin_timeout.",
        play=outlive_fin_wait2,
        sysctls={"a": {"tcp_fin_timeout": 1}},
        a=client(**FORGETS, limit=limit("tcp_fin_timeout", 1, 900, 20_000)),
        b=server(**FORGOTTEN),
        events={"a": {"fin-wait2": 1, "entered": 0}},
        wire={"A>B FIN": 1, "B>A FIN": 1, "A>B RST": 1},
        order=("A>B FIN", "B>A PURE", "B>A FIN", "A>B RST"),
        counters={"a": {"OutRsts": 1, "TCPAbortOnTimeout": 0, "TW": 0, "TWKilled": 1}},
        seconds=1.5,
        timewait={"a": {"sockets": {"time_wait": 0, "fin_wait2_orphan": 0}}},
    ),
    Scenario(
        name="fin-wait2-timeout-linger2",
        claim="TCP_LINGER2 replaces tcp_fin_timeout for one socket.",
        play=outlive_linger2,
        a=client(**FORGETS, limit=limit("TCP_LINGER2", 2, 1900, 20_000)),
        b=server(**FORGOTTEN),
        events={"a": {"fin-wait2": 1, "entered": 0}},
        wire={"A>B FIN": 1, "B>A FIN": 1, "A>B RST": 1},
        counters={"a": {"OutRsts": 1, "TWKilled": 1}},
        seconds=2.5,
    ),
)
