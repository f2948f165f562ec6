# SPDX-License-Identifier: Apache-2.0
"""Connections of MPTCP, and what all scenarios of MPTCP are made of."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from tracetw.lab.expect.kernel import MPTCP_BYTES, MPTCP_COUNT, MPTCP_READ
from tracetw.lab.expect.lines import ORDERLY, client, connected, got_reset, sent_reset, server
from tracetw.lab.expect.match import ANYTHING, SOME, Claim, accepted, at_least, known_by
from tracetw.lab.expect.scenario import Expectation, Scenario
from tracetw.lab.net.host import PORT
from tracetw.lab.net.topology import Link, Net
from tracetw.lab.polling import eventually, require
from tracetw.lab.scenarios.disconnect import dissolve
from tracetw.lab.scenarios.moves import abort, see_reset

__all__ = [
    "ABORTING",
    "BOTH",
    "COMMON",
    "FASTCLOSED",
    "MPTCP",
    "OF_MPTCP",
    "SCENARIOS",
    "answerer",
    "carried",
    "close_in_turn",
    "closer",
    "connect",
    "connection",
    "leave_unread",
    "lone",
    "no_mptcp",
    "talk",
    "to_the_end",
    "waiting",
]

ENABLED = Path("/proc/sys/net/mptcp/enabled")
NETSTAT = Path("/proc/net/netstat")
MPTCP = 262  # IPPROTO_MPTCP
BOTH = 2


def no_mptcp() -> str | None:
    """Why this kernel cannot play it."""
    if not ENABLED.exists():
        return f"no {ENABLED}: CONFIG_MPTCP is not set"
    return None


def no_fastclose() -> str | None:
    """Why this kernel cannot abort a connection of MPTCP.

    Since Linux kernel commit f284c0c77321 ("mptcp: implement fastclose xmit path") it can, and counts it since
    1e75629cb964 ("mptcp: add the mibs for MP_FASTCLOSE"); before, close() ends the connection by DATA_FIN, and one that
    fell back to TCP by FIN (seen under 5.15).
    """
    if "MPFastcloseTx" not in NETSTAT.read_text(encoding="ascii"):
        return no_mptcp() or f"no MPFastcloseTx in {NETSTAT}: MPTCP does not abort by MP_FASTCLOSE"
    return no_mptcp()


def connect(net: Net, *, client: int = MPTCP, server: int = MPTCP) -> Link:
    """A connection from A to B by these protocols, accepted; 0 is plain TCP."""
    listener = net.keep(net.b.listen(net.family, protocol=server))
    end = net.keep(net.a.tcp_socket(net.family, protocol=client))
    link = net.dial(listener, end)
    net.step("A connects, B accepts")
    return link


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
    wait_for_time_wait(net)


def wait_for_time_wait(net: Net) -> None:
    """All subflows are over, and A has what remains of them."""
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
    wait_for_time_wait(net)


def carried(number: int) -> Any:  # noqa: ANN401 (a value or a claim)
    """Bytes of the connection itself, which MPTCP has counted since Linux 6.5; null before."""
    return known_by(MPTCP_BYTES, number, otherwise=None)


def waiting(number: int) -> Any:  # noqa: ANN401 (a value or a claim)
    """Bytes that the application has not read: known where MPTCP counts those that it has read."""
    return known_by(MPTCP_READ, number, otherwise=None)


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


OF_MPTCP: Expectation = {
    "layer": "mptcp",
    "form": None,
    "time_wait": "none",
    "bytes_unread": waiting(0),
}


def closer(mptcp: Expectation, **more: object) -> Expectation:
    """A, which closed first, of a connection of MPTCP that ended well."""
    return client(**{**ORDERLY, **OF_MPTCP, **more}, first_close="local", mptcp=mptcp)


def answerer(mptcp: Expectation, **more: object) -> Expectation:
    """B, which closed after A."""
    closed_by = {"closed_by": "peer", **more}
    return server(**{**ORDERLY, **OF_MPTCP, **closed_by}, first_close="remote", mptcp=mptcp)


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
ABORTING: dict[str, Any] = {"needs": no_fastclose}

SCENARIOS = (
    Scenario(
        name="mptcp-orderly",
        claim="A connection of MPTCP ends by DATA_FIN both ways: it is one line, with its owner and its subflow.",
        play=orderly,
        a=closer(
            connection(
                "orderly", fastclose=None, subflows_total=known_by(MPTCP_COUNT, 1, otherwise=None)
            ),
            bytes_sent=carried(5),
            bytes_received=carried(7),
            states=connected("FIN_WAIT1", "FIN_WAIT2", "CLOSE"),
        ),
        b=answerer(
            connection("orderly", fastclose=None),
            bytes_sent=carried(7),
            bytes_received=carried(5),
            states=accepted("CLOSE_WAIT", "LAST_ACK", "CLOSE"),
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
        a=client(
            **{**sent_reset("abort-unread"), **BY_FASTCLOSE},
            bytes_unread=waiting(5),
            bytes_received=carried(5),
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
        **ABORTING,
    ),
    Scenario(
        name="mptcp-linger-0",
        claim="close() of MPTCP with SO_LINGER 0 aborts the connection by MP_FASTCLOSE.",
        play=linger_0,
        families=(4,),
        a=client(
            **{**sent_reset("abort-linger"), **BY_FASTCLOSE},
            bytes_unread=waiting(0),
            bytes_sent=carried(5),
            bytes_received=carried(7),
            owner_from="close",
            mptcp=connection("mptcp-reset", fastclose="sent"),
        ),
        b=server(**FASTCLOSED, mptcp=connection("peer-reset", fastclose="received")),
        wire=ABORTED,
        counters=COUNTED_ABORT,
        **ABORTING,
    ),
    Scenario(
        name="mptcp-disconnect",
        claim="connect(AF_UNSPEC) of MPTCP aborts the connection by MP_FASTCLOSE.",
        play=disconnect,
        families=(4,),
        a=client(
            **{**sent_reset("abort-disconnect"), **BY_FASTCLOSE},
            mptcp=connection("mptcp-reset", fastclose="sent"),
        ),
        b=server(**FASTCLOSED, mptcp=connection("peer-reset", fastclose="received")),
        wire=ABORTED,
        counters=COUNTED_ABORT,
        **ABORTING,
    ),
    Scenario(
        name="mptcp-listener-closed",
        claim="A listener of MPTCP that closes aborts what nobody had accepted by MP_FASTCLOSE.",
        play=listener_closed,
        families=(4,),
        a=client(
            **FASTCLOSED,
            bytes_sent=carried(5),
            mptcp=connection("peer-reset", fastclose="received"),
        ),
        b=server(
            **{**sent_reset("abort-listener"), **BY_FASTCLOSE},
            bytes_received=carried(5),
            bytes_unread=waiting(5),
            owner_from="close",
            mptcp=connection("mptcp-reset", fastclose="sent"),
        ),
        wire={"B>A RST": at_least(1), "FIN": 0},
        counters={"a": {"MPFastcloseRx": 1}, "b": {"MPFastcloseTx": 1}},
        **ABORTING,
    ),
    Scenario(
        name="mptcp-client-killed",
        claim="SIGKILL of a client of MPTCP is a close by its kernel, as of TCP.",
        play=killed,
        families=(4,),
        a=closer(
            connection("orderly"),
            closed_by="process-crash",
            exit={"signal": "SIGKILL", "core": False},
        ),
        b=answerer(connection("orderly")),
        wire={"A>B FIN": 1, "B>A FIN": 1, "RST": 0},
        counters={"a": {"OutRsts": 0}},
        **COMMON,
    ),
)
