# SPDX-License-Identifier: Apache-2.0
"""Two clients behind one address, as a router makes it of them, and a server that remembers timestamps."""

from __future__ import annotations

import itertools
import socket

from pyroute2.netlink.nfnetlink.nfctsocket import NFCTSocket

from tracetw.lab.expect.lines import born, client, first, second, server
from tracetw.lab.expect.match import SOME, known_by
from tracetw.lab.expect.scenario import Scenario
from tracetw.lab.net.peer import HALF, WRAP, Peer
from tracetw.lab.net.topology import Net
from tracetw.lab.polling import eventually, require
from tracetw.lab.scenarios.moves import talk
from tracetw.lab.scenarios.reuse import PAWS_IN_TIME_WAIT, SOURCE, TW_PAWS, close_by_b, dial

__all__ = ["SCENARIOS"]


def keep_apart(net: Net) -> None:
    """The router knows of the first connection still and gives the second another port."""
    listener = net.listen()
    one = net.a.addresses[net.family]
    two = one.removesuffix("1") + "2"
    net.learn("a", {"local": {"addr": two, "port": SOURCE}}, number=1)
    close_by_b(net, dial(net, listener, bound=True, local=one))
    end = net.client()
    end.bind((two, SOURCE))
    link = net.dial(listener, end)
    require(link.b.getpeername()[1] != SOURCE, "the router did not translate the port")
    net.step(f"{two} has connected from the same port; the router made another of it")
    talk(link)
    link.b.close()
    require(link.a.recv(1) == b"", "no FIN of B")
    link.a.close()
    eventually(lambda: net.b.states() == ["TIME_WAIT", "TIME_WAIT"])


def share_address(net: Net) -> None:
    """Clients 1, 2 and 1 again: one of the two changes goes back in time, whatever the offsets are."""
    listener = net.listen()
    one = net.a.addresses[net.family]
    two = one.removesuffix("1") + "2"
    net.learn("a", {"local": {"addr": two, "port": SOURCE}}, number=1)
    for local in (one, two, one):
        with net.r.entered(), NFCTSocket() as tracked:
            tracked.flush()
        link = dial(net, listener, bound=True, local=local)
        net.step(f"{local} has connected; B sees it as it sees the other")
        close_by_b(net, link)


def go_back_in_time(net: Net) -> None:
    """Clients 1, 2 and 1 again, each known to the router: one of the two changes goes back in time."""
    listener = net.listen()
    one = net.a.addresses[net.family]
    two = one.removesuffix("1") + "2"
    net.learn("a", {"local": {"addr": two, "port": SOURCE}}, number=1)
    peer = Peer(net, net.a, net.r)
    for local in (one, two, one):
        end = net.client()
        end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        end.bind((local, SOURCE))
        link = net.dial(listener, end)
        net.step(f"{local} has connected{_compared(peer)}")
        talk(link)
        link.b.close()
        require(link.a.recv(1) == b"", "no FIN of B")
        link.a.close()
        eventually(lambda: net.a.states() == [])
    stamps = _stamps(peer)
    back = sum(_age(before, after) > 0 for before, after in itertools.pairwise(stamps))
    require(back, f"no timestamp is older than the one before it: {stamps}")


def _stamps(peer: Peer) -> list[int]:
    """Of the SYNs, oldest first; one that was sent again has the stamp of its repetition."""
    return [s.stamp for s in peer.heard() if s.ours and s.flags == "S" and s.stamp is not None]


def _age(before: int, after: int) -> int:
    """By how many ms ``after`` is older than ``before``, as PAWS compares them; negative: newer."""
    return (before - after + HALF) % WRAP - HALF


def _compared(peer: Peer) -> str:
    stamps = _stamps(peer)
    if len(stamps) < 2:  # noqa: PLR2004 (two to compare)
        return ""
    age = _age(*stamps[-2:])
    how = "older" if age > 0 else "newer"
    return f": the timestamp of its SYN is {how} than the last one from this address"


SCENARIOS = (
    Scenario(
        name="nat-clients-apart",
        claim="Two clients behind one address have a port each there: PAWS does not concern them,"
        " since Linux remembers timestamps of connections, not of hosts.",
        play=keep_apart,
        nat=True,
        a=(client(**second("fin-4")), client(**{**second("fin-4"), "form": SOME})),
        b=(server(**first("fin-4")), server(**{**first("fin-4"), "form": SOME})),
        events={"b": {"entered": 2, "reused-by-syn": 0, "paws-timewait": 0, "paws": 0}},
        wire={"A>B SYN": 2, "B>A SYN ACK": 2, "B>A FIN": 2, "A>B FIN": 2, "RST": 0},
        counters={"b": {"TW": born(2), "PAWSEstab": 0, "PAWSActive": 0}},
        timewait={"b": {"sockets": {"time_wait": 2}}},
    ),
    Scenario(
        name="nat-older-timestamps",
        claim="Two clients behind one address connect in turn, each from a port of its own there, and the"
        " timestamps that the server sees go back in time: it accepts every SYN at once.",
        play=go_back_in_time,
        nat=True,
        a=tuple(client(**{**second("fin-4"), "form": SOME}) for _ in range(3)),
        b=tuple(server(**{**first("fin-4"), "form": SOME}) for _ in range(3)),
        events={"b": {"entered": 3, "reused-by-syn": 1, "paws-timewait": 0, "paws": 0}},
        wire={"A>B SYN": 3, "B>A SYN ACK": 3, "B>A FIN": 3, "A>B FIN": 3, "RST": 0},
        order=("A>B SYN", "B>A SYN ACK", "A>B SYN", "B>A SYN ACK", "A>B SYN", "B>A SYN ACK"),
        counters={"b": {"TW": born(3), "PAWSEstab": 0, "PAWSActive": 0}},
        timewait={"b": {"sockets": {"time_wait": 2}}},
    ),
    Scenario(
        name="nat-two-clients",
        claim="A router gives two clients the same port in turn, and one has the older timestamps"
        " (their offsets are of each pair of addresses): its SYN fails PAWS in the server's"
        " TIME_WAIT, which answers with an ACK; the client's RST ends TIME_WAIT, and the"
        " listener accepts the retransmitted SYN.",
        play=share_address,
        nat=True,
        a=tuple(client(**{**second("fin-4"), "retransmits": {"fin": 0}}) for _ in range(3)),
        b=tuple(server(**first("fin-4")) for _ in range(3)),
        events={
            "b": {
                "entered": 3,
                "reused-by-syn": 1,
                "killed-by-reset": 1,
                "paws-timewait": known_by(TW_PAWS, 1, otherwise=0),
            },
        },
        wire={"A>B SYN": 4, "B>A SYN ACK": 3, "A>B RST !ACK": 1, "B>A RST": 0, "B>A FIN": 3},
        order=("B>A FIN", "A>B FIN", "A>B SYN", "B>A PURE", "A>B RST", "A>B SYN", "B>A SYN ACK"),
        counters={"a": {"OutRsts": 1}, "b": {"TW": born(3), **PAWS_IN_TIME_WAIT}},
    ),
)
