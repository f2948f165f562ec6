# SPDX-License-Identifier: Apache-2.0
"""TIME_WAIT: who carries it, how it piles up, runs over and ends."""

from __future__ import annotations

import socket
from functools import partial

from tracetw.lab.expect.lines import born, client, connected, first, got_reset, second, server
from tracetw.lab.expect.match import SOME, at_least
from tracetw.lab.expect.scenario import Scenario
from tracetw.lab.net.host import PORT
from tracetw.lab.net.topology import Net
from tracetw.lab.polling import eventually, require
from tracetw.lab.scenarios.exits import connect
from tracetw.lab.scenarios.moves import close_in_turn

__all__ = ["SCENARIOS"]

MANY = 8
BUCKETS = 3
TIME_WAIT_S = 70.0
CARRIER = {"v": at_least(1), "kind": "timewait", "time": SOME, "host": SOME, "comm": "carrier"}


def carrier(net: Net) -> None:
    process, end = connect(net, "carrier")
    process.do("close")
    eventually(lambda: net.a.states() == ["FIN_WAIT2"])
    net.step("the process on A has closed")
    end.close()
    eventually(lambda: net.a.states() == ["TIME_WAIT"])
    net.learn("a", process.owner())


def outlast(net: Net) -> None:
    link = net.connect()
    close_in_turn(net, net.a, link.a, link.b)
    eventually(lambda: net.a.states() == [], TIME_WAIT_S)
    net.step("TIME_WAIT is over")


def carries(net: Net, number: int) -> bool:
    """B has so many sockets in TIME_WAIT, and no others."""
    return net.b.states() == ["TIME_WAIT"] * number


def pile_up(net: Net) -> None:
    """Short connections, one after the other, each ended by the server as soon as it has answered."""
    listener = net.listen()
    for number in range(MANY):
        link = net.dial(listener)
        link.b.sendall(b"answer")
        link.b.close()
        while link.a.recv(100):
            pass
        link.a.close()
        eventually(partial(carries, net, number + 1))
    net.step(f"{MANY} connections are over, B has {MANY} in TIME_WAIT")


def pile_up_on_client(net: Net) -> None:
    """The same, each ended by the client as soon as it has its answer."""
    listener = net.listen()
    for number in range(MANY):
        link = net.dial(listener)
        link.b.sendall(b"answer")
        require(link.a.recv(100) == b"answer", "A did not receive")
        link.a.close()
        require(link.b.recv(100) == b"", "B did not see the end")
        link.b.close()
        eventually(lambda: net.b.states() == [])
        require(net.a.states() == ["TIME_WAIT"] * (number + 1), "A carries another number")
    net.step(f"{MANY} connections are over, A has {MANY} ports in TIME_WAIT")


def fill_the_buckets(net: Net) -> None:
    """Short connections that B ends first, of which only the first few find a bucket on B."""
    listener = net.listen()
    for _ in range(MANY):
        link = net.dial(listener)
        # The descriptor stays open until A's FIN is there: only TIME_WAIT needs a bucket.
        link.b.shutdown(socket.SHUT_WR)
        require(link.a.recv(100) == b"", "A did not see the end")
        link.a.close()
        require(link.b.recv(100) == b"", "B did not see the end")
        link.b.close()
        eventually(lambda: net.a.states() == [])
    net.step(f"{MANY} connections are over, B had {BUCKETS} buckets")
    require(net.b.states() == ["TIME_WAIT"] * BUCKETS, "B carries another number")


def run_over_in_fin_wait2(net: Net) -> None:
    link = net.connect()
    link.a.close()
    eventually(lambda: net.a.states() == [])
    net.step("A has closed and has forgotten the connection at once; B closes")
    link.b.close()
    eventually(lambda: net.b.states() == [])


def run_over_in_last_step(net: Net) -> None:
    """A reads B's FIN before it closes its own half: only TIME_WAIT itself does not fit."""
    link = net.connect()
    link.a.shutdown(1)
    eventually(lambda: net.a.states() == ["FIN_WAIT2"])
    link.b.close()
    eventually(lambda: net.b.states() == [])
    net.step("B has closed as well")
    link.a.close()
    eventually(lambda: net.a.states() == [])


SCENARIOS = (
    Scenario(
        name="time-wait-carrier",
        claim="TIME_WAIT has no process, but its event names the process of the connection.",
        play=carrier,
        a=client(**first("fin-4")),
        b=server(**second("fin-4")),
        events={
            "a": {"entered": {**CARRIER, "remote": {"port": PORT}}, "reacked": 0, "expired": 0},
            "b": {"entered": 0, "fin-wait2": 0},
        },
        wire={"A>B FIN": 1, "B>A FIN": 1, "RST": 0},
        counters={"a": {"TW": born(1)}, "b": {"TW": 0}},
        timewait={"a": {"sockets": {"time_wait": 1}}, "b": {"sockets": {"time_wait": 0}}},
    ),
    Scenario(
        name="time-wait-expires",
        claim="TIME_WAIT lasts 60 seconds, whatever tcp_fin_timeout says.",
        play=outlast,
        sysctls={"a": {"tcp_fin_timeout": 5}},
        a=client(**first("fin-4", states=connected("FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT"))),
        b=server(**second("fin-4")),
        events={"a": {"entered": 1, "expired": 1}},
        wire={"A>B FIN": 1, "B>A FIN": 1, "RST": 0},
        counters={"a": {"TW": 1}},
        seconds=62,
        timewait={"a": {"sockets": {"time_wait": 0}}},
    ),
    Scenario(
        name="time-wait-on-server",
        claim="Short connections that the server ends pile TIME_WAIT up on the server.",
        play=pile_up,
        a=(client(**{**second("fin-4"), "form": SOME}),) * MANY,
        b=(server(**{**first("fin-4"), "form": SOME}),) * MANY,
        events={"a": {"entered": 0}, "b": {"entered": MANY}},
        wire={"B>A FIN": MANY, "A>B FIN": MANY, "RST": 0},
        counters={"a": {"TW": 0}, "b": {"TW": born(MANY)}},
        timewait={
            "b": {"sockets": {"time_wait": MANY}, "port": {"time_wait": MANY, "direction": "in"}}
        },
    ),
    Scenario(
        name="time-wait-on-client",
        claim="Short connections that the client ends pile TIME_WAIT up on the client, each with a local port"
        " of its own.",
        play=pile_up_on_client,
        a=(client(**{**first("fin-4"), "form": SOME}),) * MANY,
        b=(server(**{**second("fin-4"), "form": SOME}),) * MANY,
        events={"a": {"entered": MANY}, "b": {"entered": 0}},
        wire={"A>B FIN": MANY, "B>A FIN": MANY, "RST": 0},
        counters={"a": {"TW": born(MANY)}, "b": {"TW": 0}},
        timewait={
            "a": {"sockets": {"time_wait": MANY}, "port": {"time_wait": 1, "direction": "out"}},
            "b": {"sockets": {"time_wait": 0}},
        },
    ),
    Scenario(
        name="time-wait-buckets-full",
        claim="tcp_max_tw_buckets is a number of sockets: the first connections end in TIME_WAIT, those after"
        " them end without it, and only a counter says so.",
        play=fill_the_buckets,
        sysctls={"b": {"tcp_max_tw_buckets": BUCKETS}},
        a=(client(**{**second("fin-4"), "form": SOME}),) * MANY,
        b=(
            *(server(**{**first("fin-4"), "form": SOME}),) * BUCKETS,
            *(server(verdict="orderly", time_wait="skipped", first_close="local"),)
            * (MANY - BUCKETS),
        ),
        events={"b": {"entered": BUCKETS, "overflow": MANY - BUCKETS}},
        wire={"B>A FIN": MANY, "A>B FIN": MANY, "RST": 0},
        counters={"b": {"TCPTimeWaitOverflow": MANY - BUCKETS, "TW": born(BUCKETS)}},
        timewait={"b": {"sockets": {"time_wait": BUCKETS}}},
    ),
    Scenario(
        name="time-wait-overflow-fin-wait2",
        claim="Without a free TIME_WAIT bucket (tcp_max_tw_buckets) the kernel skips FIN_WAIT2 and"
        " answers the peer's FIN with RST.",
        play=run_over_in_fin_wait2,
        sysctls={"a": {"tcp_max_tw_buckets": 0}},
        # The peer's FIN was never seen: nobody can say that the close was orderly.
        a=client(verdict="undetermined", time_wait="skipped", first_close="local", closed_by="app"),
        b=server(**got_reset("peer-lost-state", ack=False, error=SOME, closed_by=SOME)),
        events={"a": {"overflow": 1, "entered": 0, "fin-wait2": 0}},
        wire={"A>B FIN": 1, "B>A FIN": 1, "A>B RST": 1},
        order=("A>B FIN", "B>A PURE", "B>A FIN", "A>B RST"),
        counters={"a": {"TCPTimeWaitOverflow": 1, "TW": 0}},
        timewait={"a": {"sockets": {"time_wait": 0, "fin_wait2_orphan": 0}}},
    ),
    Scenario(
        name="time-wait-overflow",
        claim="Without a free TIME_WAIT bucket (tcp_max_tw_buckets) the close is orderly, but"
        " nobody waits for stray segments.",
        play=run_over_in_last_step,
        sysctls={"a": {"tcp_max_tw_buckets": 0}},
        a=client(verdict="orderly", time_wait="skipped", first_close="local", closed_by="app"),
        b=server(verdict="orderly", time_wait="remote", first_close="remote"),
        events={"a": {"overflow": 1, "entered": 0}},
        wire={"A>B FIN": 1, "B>A FIN": 1, "RST": 0},
        counters={"a": {"TCPTimeWaitOverflow": 1, "TW": 0}},
        timewait={"a": {"sockets": {"time_wait": 0, "fin_wait2_orphan": 0}}},
    ),
)
