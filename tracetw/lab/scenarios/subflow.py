# SPDX-License-Identifier: Apache-2.0
"""Subflows of MPTCP that end on their own, or take their connection with them."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path

from tracetw.lab.expect.kernel import MPTCP_COUNT
from tracetw.lab.expect.lines import client, server
from tracetw.lab.expect.match import ANYTHING, Claim, at_least, known_by
from tracetw.lab.expect.scenario import Expectation, Scenario
from tracetw.lab.net.cable import addresses
from tracetw.lab.net.fault import PacketLoss
from tracetw.lab.net.spawn import run
from tracetw.lab.net.topology import Link, Net
from tracetw.lab.polling import eventually, require
from tracetw.lab.scenarios.mptcp import (
    COMMON,
    answerer,
    carried,
    close_in_turn,
    closer,
    connect,
    connection,
    lone,
    no_mptcp,
    talk,
)

__all__ = ["SCENARIOS"]

SECOND = addresses(99, 77)
BOTH = 2
CLOSE_TIMEOUT = Path("/proc/sys/net/mptcp/close_timeout")


def _endpoint(net: Net) -> None:
    """A has a second address, from which a second subflow may be opened."""
    address = net.second[net.family]
    width = {4: "24", 6: "64"}[net.family]
    nodad = ["nodad"] if net.family != 4 else []  # noqa: PLR2004 (IPv4)
    net.a.run("ip", "address", "add", f"{address}/{width}", "dev", "eth0", *nodad)
    net.a.run("ip", "mptcp", "endpoint", "add", address, "dev", "eth0", "subflow")
    for host in (net.a, net.b):
        host.run("ip", "mptcp", "limits", "set", "subflow", "2", "add_addr_accepted", "2")


def _two_ways(net: Net) -> Link:
    """A connection with two subflows, the second from another address of A."""
    _endpoint(net)
    link = connect(net)
    talk(link)
    eventually(lambda: net.b.states() == ["ESTABLISHED"] * BOTH, what="a second subflow")
    eventually(lambda: net.b.counters()["MPJoinAckRx"] == 1, what="the second subflow joined")
    net.step("a second subflow joins from another address of A")
    return link


def join_killed(net: Net) -> None:
    link = _two_ways(net)
    net.a.run("ss", "-K", "-t", "src", _bracketed(SECOND[net.family]))
    eventually(lambda: net.b.states() == ["ESTABLISHED"], what="the second subflow is gone")
    net.step("the second subflow is destroyed; the connection goes on")
    talk(link)
    close_in_turn(net, link)


def two_subflows(net: Net) -> None:
    link = _two_ways(net)
    close_in_turn(net, link)


def join_stripped(net: Net) -> None:
    _endpoint(net)
    strip = f"ip saddr {SECOND[4]} tcp option mptcp exists"
    with PacketLoss(net.b, strip, verdict="reset tcp option mptcp") as stripped:
        link = connect(net)
        talk(link)
        eventually(lambda: net.a.counters()["MPJoinSynTx"] == 1, what="a second subflow")
        eventually(lambda: net.a.counters()["OutRsts"] == 1, what="A resets it")
        require(stripped.packets() > 0, "no option was taken out")
    net.step("options of MPTCP do not pass from the second address; the connection goes on")
    talk(link)
    close_in_turn(net, link)


def no_close_timeout() -> str | None:
    """Why no setting makes this kernel give up a connection soon (Linux 6.7 has one); None if one does."""
    return no_mptcp() or (None if CLOSE_TIMEOUT.exists() else f"no {CLOSE_TIMEOUT}")


def no_stripping() -> str | None:
    """Why this kernel cannot take options out of packets, or does not count the attempts to join."""
    if "MPJoinSynTx" not in Path("/proc/net/netstat").read_text(encoding="ascii"):
        return no_mptcp() or "no counter MPJoinSynTx in /proc/net/netstat"
    rule = "table inet t {\n chain c {\n type filter hook prerouting priority 0\n reset tcp option mptcp\n }\n}\n"
    status, _, errors = run(["unshare", "--net", "nft", "-f", "-"], rule)
    return no_mptcp() or (f"no nft reset: {errors.strip().splitlines()[0]}" if status else None)


def removed_by_path_manager(net: Net) -> None:
    link = _two_ways(net)
    net.a.run("ip", "mptcp", "endpoint", "flush")
    eventually(lambda: net.b.states() == ["ESTABLISHED"], what="the second subflow is gone")
    net.step("A's path manager removes the second address; the connection goes on")
    talk(link)
    close_in_turn(net, link)


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def only_subflow_killed(net: Net) -> None:
    link = connect(net)
    talk(link)
    for host in (net.a, net.b):
        with host.entered():
            CLOSE_TIMEOUT.write_text("1\n")
    net.a.run("ss", "-K", "-t", "dst", _bracketed(net.b.addresses[net.family]))
    net.step("A's only subflow is destroyed; nobody has closed")
    see_hang_up(link.a)
    see_hang_up(link.b)


def see_hang_up(end: socket.socket) -> None:
    """The connection is over for its application, which closes."""
    with suppress(OSError):
        end.recv(100)
    end.close()


FROM_SECOND: Expectation = {
    "addr": Claim("the second address", lambda value: value.endswith(".77")),
    "port": at_least(1024),
}


def went_on(mptcp: Expectation) -> Expectation:
    """A's connection, which lost a subflow and carried five bytes more."""
    return closer(mptcp, retransmits=ANYTHING, bytes_sent=carried(10))


SUBFLOWS_LOST = {
    "verdict": "subflows-lost",
    "layer": "mptcp",
    "first_close": "none",
    "owner_from": "close",
}

SCENARIOS = (
    Scenario(
        name="mptcp-two-subflows",
        claim="A connection with two subflows is one line that lists both.",
        play=two_subflows,
        families=(4,),
        a=closer(
            connection(
                "orderly", "orderly", subflows_total=known_by(MPTCP_COUNT, 2, otherwise=None)
            )
        ),
        b=answerer(connection("orderly", "orderly")),
        wire={"A>B FIN": 2, "B>A FIN": 2, "RST": 0},
        counters={"a": {"OutRsts": 0, "MPJoinSynAckRx": 1}},
        **COMMON,
    ),
    Scenario(
        name="mptcp-join-killed",
        claim="A subflow that is destroyed is a line of its own, which says that the connection went on.",
        play=join_killed,
        families=(4,),
        a=(
            went_on(connection("orderly", "abort-admin")),
            client(
                **lone("abort-admin", local=FROM_SECOND),
                closed_by="admin",
            ),
        ),
        b=(
            answerer(connection("orderly", "peer-reset"), bytes_received=carried(10)),
            server(**lone("peer-reset", remote=FROM_SECOND, pid=ANYTHING, comm=ANYTHING)),
        ),
        wire={"A>B RST": 1, "B>A RST": 0, "A>B FIN": 1, "B>A FIN": 1},
        counters={"a": {"OutRsts": 1}, "b": {"OutRsts": 0}},
        **COMMON,
    ),
    Scenario(
        name="mptcp-join-stripped",
        claim="A box on the way takes MPTCP out of a second subflow: MPTCP resets it, and the connection goes on.",
        play=join_stripped,
        families=(4,),
        a=(
            went_on(connection("orderly", "mptcp-reset")),
            client(
                **lone("mptcp-reset", local=FROM_SECOND),
                form="rst-sent",
                closed_by=None,
            ),
        ),
        b=answerer(connection("orderly"), bytes_received=carried(10)),
        wire={"A>B RST": 1, "B>A RST": 0, "A>B FIN": 1, "B>A FIN": 1},
        counters={"a": {"OutRsts": 1, "MPJoinSynTx": 1, "MPJoinSynAckRx": 0}},
        **{**COMMON, "needs": no_stripping},
    ),
    Scenario(
        name="mptcp-address-removed",
        claim="A subflow that the path manager removes ends by FIN, and its line says that the connection went on.",
        play=removed_by_path_manager,
        families=(4,),
        a=(
            went_on(connection("orderly", "orderly")),
            client(**lone("orderly", local=FROM_SECOND, pid=ANYTHING, comm=ANYTHING)),
        ),
        b=(
            answerer(connection("orderly", "orderly"), bytes_received=carried(10)),
            server(**lone("orderly", remote=FROM_SECOND, pid=ANYTHING, comm=ANYTHING)),
        ),
        wire={"RST": 0, "A>B FIN": 2, "B>A FIN": 2},
        counters={"a": {"OutRsts": 0}},
        **COMMON,
    ),
    Scenario(
        name="mptcp-only-subflow-killed",
        claim="A connection whose only subflow is destroyed is over when net.mptcp.close_timeout has run out.",
        play=only_subflow_killed,
        families=(4,),
        a=(
            client(**SUBFLOWS_LOST, mptcp=connection("abort-admin")),
            client(**lone("abort-admin", join=False)),
        ),
        b=(
            server(**SUBFLOWS_LOST, mptcp=connection("peer-reset")),
            server(**lone("peer-reset", join=False), pid=ANYTHING, comm=ANYTHING),
        ),
        wire={"A>B RST": 1, "FIN": 0},
        counters={"a": {"OutRsts": 1}},
        seconds=2.5,
        **{**COMMON, "needs": no_close_timeout},
    ),
)
