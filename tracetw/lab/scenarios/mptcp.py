# SPDX-License-Identifier: Apache-2.0
"""Connections of MPTCP, their subflows, and plain TCP where MPTCP was asked for."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

from tracetw.lab.expect.lines import (
    ORDERLY,
    client,
    connected,
    got_reset,
    second,
    sent_reset,
    server,
)
from tracetw.lab.expect.match import ANYTHING, SOME, Claim, accepted, at_least, path
from tracetw.lab.expect.scenario import Expectation, Scenario
from tracetw.lab.net.cable import addresses
from tracetw.lab.net.fault import Drop
from tracetw.lab.net.host import PORT
from tracetw.lab.net.spawn import run
from tracetw.lab.net.topology import Link, Net
from tracetw.lab.polling import eventually, require
from tracetw.lab.scenarios.disconnect import dissolve
from tracetw.lab.scenarios.moves import abort, see_reset

__all__ = ["SCENARIOS"]

ENABLED = Path("/proc/sys/net/mptcp/enabled")
MPTCP = 262  # IPPROTO_MPTCP
SECOND = addresses(99, 77)
BOTH = 2


def no_mptcp() -> str | None:
    """Why this kernel cannot play it."""
    if not ENABLED.exists():
        return f"no {ENABLED}: CONFIG_MPTCP is not set"
    return None


def connect(net: Net, *, client: int = MPTCP, server: int = MPTCP) -> Link:
    """A connection from A to B by these protocols, accepted; 0 is plain TCP."""
    listener = net.keep(net.b.listen(net.family, protocol=server))
    end = net.keep(net.a.tcp_socket(net.family, protocol=client))
    end.connect(net.server)
    other = net.keep(listener.accept()[0])
    other.settimeout(end.gettimeout())
    net.step("A connects, B accepts")
    return Link(end, other, listener)


def talk(link: Link) -> None:
    """Five bytes from A to B, seven back."""
    link.a.sendall(b"hello")
    require(link.b.recv(100) == b"hello", "B did not receive")
    link.b.sendall(b"welcome")
    require(link.a.recv(100) == b"welcome", "A did not receive")


def to_the_end(end: socket.socket) -> None:
    """Read the end of the stream, then close."""
    require(end.recv(100) == b"", "more came than the end")
    end.close()


def leave_unread(end: socket.socket, other: socket.socket) -> None:
    """Five bytes wait for the application of one end."""
    other.sendall(b"hello")
    require(end.recv(100, socket.MSG_PEEK) == b"hello", "nothing came")


def close_in_turn(net: Net, link: Link) -> None:
    """A closes, B reads to the end and closes; A has what remains of the subflows."""
    link.a.close()
    to_the_end(link.b)
    eventually(lambda: net.b.states() == [] and {*net.a.states()} == {"TIME_WAIT"})


def orderly(net: Net) -> None:
    link = connect(net)
    talk(link)
    net.step("A closes; B reads to the end and closes")
    close_in_turn(net, link)


def unread(net: Net) -> None:
    link = connect(net)
    leave_unread(link.a, link.b)
    net.step("B's data waits for A, which closes")
    link.a.close()
    see_reset(link.b)


def linger_0(net: Net) -> None:
    link = connect(net)
    talk(link)
    abort(link.a)
    see_reset(link.b)


def disconnect(net: Net) -> None:
    link = connect(net)
    talk(link)
    dissolve(link.a)
    see_reset(link.b)
    link.a.close()


def listener_closed(net: Net) -> None:
    listener = net.keep(net.b.listen(net.family, protocol=MPTCP))
    end = net.keep(net.a.tcp_socket(net.family, protocol=MPTCP))
    end.connect(net.server)
    end.sendall(b"hello")
    eventually(lambda: net.b.counters()["InSegs"] > BOTH)
    net.step("nobody has accepted; the listener closes")
    listener.close()
    see_reset(end)


def killed(net: Net) -> None:
    listener = net.keep(net.b.listen(net.family, protocol=MPTCP))
    process = net.actor(net.a, "killed-mptcp")
    process.connect(net.b.addresses[net.family], net.family, PORT, MPTCP)
    end = net.keep(listener.accept()[0])
    process.do("send", "hello")
    require(end.recv(100) == b"hello", "B did not receive")
    process.kill()
    net.learn("a", process.owner())
    to_the_end(end)


def _endpoint(net: Net) -> None:
    """A has a second address, from which a second subflow may be opened."""
    address = SECOND[net.family]
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
    with Drop(net.b, strip, verdict="reset tcp option mptcp") as stripped:
        link = connect(net)
        talk(link)
        eventually(lambda: net.a.counters()["MPJoinSynTx"] == 1, what="a second subflow")
        eventually(lambda: net.a.counters()["OutRsts"] == 1, what="A resets it")
        require(stripped.packets() > 0, "no option was taken out")
    net.step("options of MPTCP do not pass from the second address; the connection goes on")
    talk(link)
    close_in_turn(net, link)


def no_stripping() -> str | None:
    """Why this kernel cannot take options out of packets."""
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


def fallback_unread(net: Net) -> None:
    link = connect(net, server=0)
    leave_unread(link.a, link.b)
    net.step("B speaks no MPTCP; its data waits for A, which closes")
    link.a.close()
    eventually(lambda: "CLOSE_WAIT" in net.b.states())
    to_the_end(link.b)


def fallback_orderly(net: Net) -> None:
    link = connect(net, server=0)
    talk(link)
    net.step("B speaks no MPTCP; A closes, then B")
    link.a.close()
    to_the_end(link.b)


def fallback_linger_0(net: Net) -> None:
    link = connect(net, server=0)
    talk(link)
    abort(link.a)
    see_reset(link.b)


def plain_client_unread(net: Net) -> None:
    link = connect(net, client=0)
    leave_unread(link.b, link.a)
    net.step("A speaks no MPTCP; its data waits for B, which closes")
    link.b.close()
    see_reset(link.a)


def only_subflow_killed(net: Net) -> None:
    link = connect(net)
    talk(link)
    for host in (net.a, net.b):
        with host.entered():
            Path("/proc/sys/net/mptcp/close_timeout").write_text("1\n")
    net.a.run("ss", "-K", "-t", "dst", _bracketed(net.b.addresses[net.family]))
    net.step("A's only subflow is destroyed; nobody has closed")
    see_hang_up(link.a)
    see_hang_up(link.b)


def see_hang_up(end: socket.socket) -> None:
    """The connection is over for its application, which closes."""
    with suppress(OSError):
        end.recv(100)
    end.close()


def connection(*subflows: str, **more: object) -> Expectation:
    """The ``mptcp`` of a connection whose subflows ended so."""
    listed = Claim(
        f"subflows: {', '.join(subflows)}",
        lambda value: sorted(each["verdict"] for each in value) == sorted(subflows),
    )
    return {"role": "connection", "token": SOME, "subflows": listed, **more}


def lone(verdict: str, *, join: bool = True, **more: object) -> Expectation:
    """A subflow that ended while its connection went on."""
    of = {"role": "subflow", "connection_went_on": True, "join": join, "token": SOME}
    says = Claim("that the connection went on", lambda text: "went on" in text)
    return {"verdict": verdict, "layer": "mptcp", "mptcp": of, "why": says, **more}


OF_MPTCP: Expectation = {"layer": "mptcp", "form": None, "time_wait": "none"}
BY_FASTCLOSE: Expectation = {"layer": "mptcp", "reset": {"direction": "sent"}}
FASTCLOSED = got_reset(
    layer="mptcp",
    confidence="proven",
    why=Claim("MP_FASTCLOSE", lambda text: "MP_FASTCLOSE" in text),
)
ABORTED = {"A>B RST": 1, "B>A RST": 0, "FIN": 0}
COUNTED_ABORT = {
    "a": {
        "OutRsts": 1,
        "MPFastcloseTx": 1,
        "EstabResets": 1,
        "TCPAbortOnClose": 0,
        "TCPAbortOnData": 0,
    },
    "b": {"OutRsts": 0, "MPFastcloseRx": 1, "EstabResets": 1},
}
COMMON: dict[str, Any] = {"needs": no_mptcp}

SCENARIOS = (
    Scenario(
        name="mptcp-orderly",
        claim="A connection of MPTCP ends by DATA_FIN both ways: it is one line, with its owner and its subflow.",
        play=orderly,
        families=(4, 6),
        a=client(
            **{**ORDERLY, **OF_MPTCP},
            first_close="local",
            bytes_sent=5,
            bytes_received=7,
            states=connected("FIN_WAIT1", "FIN_WAIT2", "CLOSE"),
            mptcp=connection("orderly", fastclose=None, subflows_total=1),
        ),
        b=server(
            **{**ORDERLY, **OF_MPTCP, "closed_by": "peer"},
            first_close="remote",
            bytes_sent=7,
            bytes_received=5,
            states=path("ESTABLISHED", "CLOSE_WAIT", "LAST_ACK", "CLOSE"),
            mptcp=connection("orderly", fastclose=None),
        ),
        wire={"A>B FIN": 1, "B>A FIN": 1, "RST": 0},
        counters={"a": {"OutRsts": 0, "TW": ANYTHING}, "b": {"OutRsts": 0}},
        **COMMON,
    ),
    Scenario(
        name="mptcp-close-with-unread-data",
        claim="close() of MPTCP with unread data aborts the connection by MP_FASTCLOSE, and counts nothing in"
        " TCPAbortOnClose.",
        play=unread,
        families=(4, 6),
        a=client(
            **{**sent_reset("abort-unread"), **BY_FASTCLOSE},
            bytes_unread=5,
            bytes_received=5,
            owner_from="close",
            states=connected("CLOSE"),
            mptcp=connection("mptcp-reset", fastclose="sent"),
        ),
        b=server(
            **FASTCLOSED,
            states=accepted("CLOSE"),
            mptcp=connection("peer-reset", fastclose="received"),
        ),
        wire=ABORTED,
        counters=COUNTED_ABORT,
        **COMMON,
    ),
    Scenario(
        name="mptcp-linger-0",
        claim="close() of MPTCP with SO_LINGER 0 aborts the connection by MP_FASTCLOSE.",
        play=linger_0,
        a=client(
            **{**sent_reset("abort-linger"), **BY_FASTCLOSE},
            bytes_unread=0,
            bytes_sent=5,
            bytes_received=7,
            owner_from="close",
            mptcp=connection("mptcp-reset", fastclose="sent"),
        ),
        b=server(**FASTCLOSED, mptcp=connection("peer-reset", fastclose="received")),
        wire=ABORTED,
        counters=COUNTED_ABORT,
        **COMMON,
    ),
    Scenario(
        name="mptcp-disconnect",
        claim="connect(AF_UNSPEC) of MPTCP aborts the connection by MP_FASTCLOSE.",
        play=disconnect,
        a=client(
            **{**sent_reset("abort-disconnect"), **BY_FASTCLOSE},
            mptcp=connection("mptcp-reset", fastclose="sent"),
        ),
        b=server(**FASTCLOSED, mptcp=connection("peer-reset", fastclose="received")),
        wire=ABORTED,
        counters=COUNTED_ABORT,
        **COMMON,
    ),
    Scenario(
        name="mptcp-listener-closed",
        claim="A listener of MPTCP that closes aborts what nobody had accepted by MP_FASTCLOSE.",
        play=listener_closed,
        a=client(**FASTCLOSED, bytes_sent=5, mptcp=connection("peer-reset", fastclose="received")),
        b=server(
            **{**sent_reset("abort-listener"), **BY_FASTCLOSE},
            bytes_received=5,
            bytes_unread=5,
            owner_from="close",
            mptcp=connection("mptcp-reset", fastclose="sent"),
        ),
        wire={"B>A RST": at_least(1), "FIN": 0},
        counters={"a": {"MPFastcloseRx": 1}, "b": {"MPFastcloseTx": 1}},
        **COMMON,
    ),
    Scenario(
        name="mptcp-client-killed",
        claim="SIGKILL of a client of MPTCP is a close by its kernel, as of TCP.",
        play=killed,
        a=client(
            **{
                **ORDERLY,
                **OF_MPTCP,
                "closed_by": "process-crash",
                "exit": {"signal": "SIGKILL", "core": False},
            },
            first_close="local",
            mptcp=connection("orderly"),
        ),
        b=server(
            **{**ORDERLY, **OF_MPTCP, "closed_by": "peer"},
            first_close="remote",
            mptcp=connection("orderly"),
        ),
        wire={"A>B FIN": 1, "B>A FIN": 1, "RST": 0},
        counters={"a": {"OutRsts": 0}},
        **COMMON,
    ),
    Scenario(
        name="mptcp-two-subflows",
        claim="A connection with two subflows is one line that lists both.",
        play=two_subflows,
        a=client(
            **{**ORDERLY, **OF_MPTCP},
            first_close="local",
            mptcp=connection("orderly", "orderly", subflows_total=2),
        ),
        b=server(
            **{**ORDERLY, **OF_MPTCP, "closed_by": "peer"},
            first_close="remote",
            mptcp=connection("orderly", "orderly"),
        ),
        wire={"A>B FIN": 2, "B>A FIN": 2, "RST": 0},
        counters={"a": {"OutRsts": 0, "MPJoinSynAckRx": 1}},
        **COMMON,
    ),
    Scenario(
        name="mptcp-join-killed",
        claim="A subflow that is destroyed is a line of its own, which says that the connection went on.",
        play=join_killed,
        a=(
            client(
                **{**ORDERLY, **OF_MPTCP, "retransmits": ANYTHING},
                first_close="local",
                bytes_sent=10,
                mptcp=connection("orderly", "abort-admin"),
            ),
            client(
                **lone("abort-admin", local={"addr": SECOND[4], "port": at_least(1024)}),
                closed_by="admin",
            ),
        ),
        b=(
            server(
                **{**ORDERLY, **OF_MPTCP, "closed_by": "peer"},
                first_close="remote",
                bytes_received=10,
                mptcp=connection("orderly", "peer-reset"),
            ),
            server(
                **lone("peer-reset", remote={"addr": SECOND[4], "port": at_least(1024)}),
                pid=ANYTHING,
                comm=ANYTHING,
            ),
        ),
        wire={"A>B RST": 1, "B>A RST": 0, "A>B FIN": 1, "B>A FIN": 1},
        counters={"a": {"OutRsts": 1}, "b": {"OutRsts": 0}},
        **COMMON,
    ),
    Scenario(
        name="mptcp-join-stripped",
        claim="A box on the way takes MPTCP out of a second subflow: MPTCP resets it, and the connection goes on.",
        play=join_stripped,
        a=(
            client(
                **{**ORDERLY, **OF_MPTCP, "retransmits": ANYTHING},
                first_close="local",
                bytes_sent=10,
                mptcp=connection("orderly", "mptcp-reset"),
            ),
            client(
                **lone("mptcp-reset", local={"addr": SECOND[4], "port": at_least(1024)}),
                form="rst-sent",
                closed_by=None,
            ),
        ),
        b=server(
            **{**ORDERLY, **OF_MPTCP, "closed_by": "peer"},
            first_close="remote",
            bytes_received=10,
            mptcp=connection("orderly"),
        ),
        wire={"A>B RST": 1, "B>A RST": 0, "A>B FIN": 1, "B>A FIN": 1},
        counters={"a": {"OutRsts": 1, "MPJoinSynTx": 1, "MPJoinSynAckRx": 0}},
        **{**COMMON, "needs": no_stripping},
    ),
    Scenario(
        name="mptcp-address-removed",
        claim="A subflow that the path manager removes ends by FIN, and its line says that the connection went on.",
        play=removed_by_path_manager,
        a=(
            client(
                **{**ORDERLY, **OF_MPTCP, "retransmits": ANYTHING},
                first_close="local",
                bytes_sent=10,
                mptcp=connection("orderly", "orderly"),
            ),
            client(
                **lone("orderly", local={"addr": SECOND[4], "port": at_least(1024)}),
                pid=ANYTHING,
                comm=ANYTHING,
            ),
        ),
        b=(
            server(
                **{**ORDERLY, **OF_MPTCP, "closed_by": "peer"},
                first_close="remote",
                bytes_received=10,
                mptcp=connection("orderly", "orderly"),
            ),
            server(
                **lone("orderly", remote={"addr": SECOND[4], "port": at_least(1024)}),
                pid=ANYTHING,
                comm=ANYTHING,
            ),
        ),
        wire={"RST": 0, "A>B FIN": 2, "B>A FIN": 2},
        counters={"a": {"OutRsts": 0}},
        **COMMON,
    ),
    Scenario(
        name="mptcp-fallback-unread",
        claim="A client of MPTCP that fell back to TCP closes with unread data: FIN, no RST, and the data is lost.",
        play=fallback_unread,
        families=(4, 6),
        a=client(
            **{**ORDERLY, "bytes_unread": 5},
            form="fin-4",
            first_close="local",
            time_wait="local",
            layer=None,
            mptcp={"role": "fallback"},
            why=Claim("never read", lambda text: "5 bytes were never read" in text),
        ),
        b=server(**second("fin-4"), layer=None, mptcp=None),
        wire={"A>B FIN": 1, "B>A FIN": 1, "RST": 0},
        counters={"a": {"OutRsts": 0, "TCPAbortOnClose": 0, "MPCapableFallbackSYNACK": 1}},
        **COMMON,
    ),
    Scenario(
        name="mptcp-fallback-orderly",
        claim="A client of MPTCP that fell back to TCP is a connection of TCP: one line, by the rules of TCP.",
        play=fallback_orderly,
        a=client(
            **ORDERLY,
            first_close="local",
            time_wait="local",
            bytes_sent=5,
            bytes_received=7,
            layer=None,
            mptcp={"role": "fallback"},
        ),
        b=server(**{**ORDERLY, "closed_by": "peer"}, first_close="remote", layer=None, mptcp=None),
        wire={"A>B FIN": 1, "B>A FIN": 1, "RST": 0},
        counters={"a": {"OutRsts": 0}},
        **COMMON,
    ),
    Scenario(
        name="mptcp-fallback-linger-0",
        claim="A client of MPTCP that fell back to TCP closes with SO_LINGER 0 as a client of TCP does.",
        play=fallback_linger_0,
        a=client(
            **sent_reset(
                "abort-linger", "TCP_STATE", "TCP_ABORT_ON_LINGER", "TCP_DISCONNECT_WITH_DATA"
            ),
            owner_from="close",
            layer=None,
            mptcp={"role": "fallback"},
        ),
        b=server(**got_reset(), layer=None),
        wire={"A>B RST": 1, "FIN": 0},
        counters={"a": {"OutRsts": 1, "TCPAbortOnData": 1}},
        **COMMON,
    ),
    Scenario(
        name="mptcp-plain-client-unread",
        claim="Plain TCP at a listener of MPTCP (the default of Go) stays plain TCP.",
        play=plain_client_unread,
        families=(4, 6),
        a=client(**got_reset(), layer=None, mptcp=None),
        b=server(
            **sent_reset("abort-unread", "TCP_ABORT_ON_CLOSE"),
            bytes_unread=5,
            owner_from="close",
            layer=None,
            mptcp=None,
        ),
        wire={"B>A RST": 1, "FIN": 0},
        counters={"b": {"OutRsts": 1, "TCPAbortOnClose": 1}},
        **COMMON,
    ),
    Scenario(
        name="mptcp-only-subflow-killed",
        claim="A connection whose only subflow is destroyed is over when net.mptcp.close_timeout has run out.",
        play=only_subflow_killed,
        a=(
            client(
                verdict="subflows-lost",
                layer="mptcp",
                first_close="none",
                owner_from="close",
                mptcp=connection("abort-admin"),
            ),
            client(**lone("abort-admin", join=False)),
        ),
        b=(
            server(
                verdict="subflows-lost",
                layer="mptcp",
                first_close="none",
                owner_from="close",
                mptcp=connection("peer-reset"),
            ),
            server(**lone("peer-reset", join=False), pid=ANYTHING, comm=ANYTHING),
        ),
        wire={"A>B RST": 1, "FIN": 0},
        counters={"a": {"OutRsts": 1}},
        seconds=2.5,
        **COMMON,
    ),
)
