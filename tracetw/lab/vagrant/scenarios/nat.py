# SPDX-License-Identifier: Apache-2.0
"""A router that translates: two clients behind its one address, and what it forgets."""

from __future__ import annotations

from typing import cast

from tracetw.lab.expect.lines import born, client, connected, first, got_reset, second, server
from tracetw.lab.expect.match import accepted, known_by
from tracetw.lab.net.host import PORT, Host
from tracetw.lab.net.topology import Link, Net
from tracetw.lab.polling import eventually, require
from tracetw.lab.scenarios.moves import see_reset, talk
from tracetw.lab.scenarios.reuse import PAWS_IN_TIME_WAIT, SOURCE, TW_PAWS
from tracetw.lab.vagrant.net import Machines
from tracetw.lab.vagrant.play import MachineScenario

__all__ = ["SCENARIOS"]

FORGOTTEN_S = 3


def share_one_address(net: Net) -> None:
    """The client that is longer up first: the clock of its timestamps is ahead of the other's."""
    machines = cast("Machines", net)
    listener = net.listen()
    clients = [machines.machines[letter] for letter in ("a", "c")]
    clients.sort(key=lambda each: -float(each.run("cat", "/proc/uptime").split()[0]))
    for each in clients:
        # What the router remembered would make it give the second another port.
        net.r.run("conntrack", "-F")
        end = net.keep(each.tcp_socket())
        end.bind((each.addresses[4], SOURCE))
        link = net.dial(listener, end)
        require(link.b.getpeername() == (machines.site.seen_by_b, SOURCE), "not translated so")
        net.step(f"{each.name} has connected; B sees it as it sees the other")
        talk(link)
        _close_by_b(net, each, link)


def _close_by_b(net: Net, other: Host, link: Link) -> None:
    link.b.close()
    eventually(lambda: "FIN_WAIT2" in net.b.states())
    link.a.close()
    eventually(lambda: net.b.states() == ["TIME_WAIT"])
    eventually(lambda: other.states() == [])
    net.step("B has closed first and is in TIME_WAIT")


def outlive_the_router(net: Net) -> None:
    """The router forgets an idle connection: what B sends is for the router itself then."""
    router = cast("Machines", net).machines["r"]
    router.set({"net/netfilter/nf_conntrack_tcp_timeout_established": FORGOTTEN_S})
    link = net.connect()
    talk(link)
    eventually(
        lambda: str(PORT) not in net.r.run("conntrack", "-L", "-p", "tcp", "--dport", str(PORT)),
        what="the router has forgotten",
    )
    net.step("the router has forgotten the connection; both ends have not")
    require(net.a.states() == net.b.states() == ["ESTABLISHED"], "an end learnt of it")
    link.b.sendall(b"anyone?")
    see_reset(link.b)
    net.step("the router had nobody to translate B's data for, and answered with a RST")
    link.a.sendall(b"still there?")
    see_reset(link.a)
    net.step("the router takes A's data for a new connection; B knows it no more")


CLOSED_SECOND = client(
    **{**second("fin-4"), "retransmits": {"fin": 0}},
    local={"port": SOURCE},
    remote={"port": PORT},
)

SCENARIOS = (
    MachineScenario(
        name="nat-two-machines",
        claim="Two machines connect from the router's one address and the same port in turn. The second was booted"
        " later, its timestamps are older: PAWS refuses its SYN in the server's TIME_WAIT, its RST ends that, and"
        " the listener accepts the SYN that it sends again.",
        play=share_one_address,
        topology="nat",
        nat=True,
        # Timestamps without an offset of each pair of addresses: they are the time since the boot.
        sysctls={"a": {"tcp_timestamps": 2}, "c": {"tcp_timestamps": 2}},
        a=CLOSED_SECOND,
        b=(server(**first("fin-4")), server(**first("fin-4"))),
        others={"c": CLOSED_SECOND},
        events={
            "b": {
                "entered": 2,
                "killed-by-reset": 1,
                "paws-timewait": known_by(TW_PAWS, 1, otherwise=0),
            },
        },
        wire={"A>B SYN": 3, "B>A SYN ACK": 2, "A>B RST !ACK": 1, "B>A RST": 0, "B>A FIN": 2},
        order=("B>A FIN", "A>B FIN", "A>B SYN", "B>A PURE", "A>B RST", "A>B SYN", "B>A SYN ACK"),
        counters={"b": {"TW": born(2), **PAWS_IN_TIME_WAIT}},
        seconds=60,
    ),
    MachineScenario(
        name="router-forgets",
        claim="The router forgets an idle connection. What the server sends is answered by the router itself, with a"
        " RST that looks like the client's; what the client sends reaches a server that has no connection any more.",
        play=outlive_the_router,
        topology="nat",
        nat=True,
        a=client(**got_reset("peer-lost-state", ack=False, states=connected("CLOSE"))),
        b=server(**got_reset("peer-lost-state", ack=False, states=accepted("CLOSE"))),
        wire={"A>B RST !ACK": 1, "B>A RST !ACK": 1, "FIN": 0},
        order=("B>A DATA", "A>B RST", "A>B DATA", "B>A RST"),
        counters={"a": {"EstabResets": 1, "OutRsts": 0}, "b": {"EstabResets": 1, "OutRsts": 1}},
        seconds=40,
    ),
)
