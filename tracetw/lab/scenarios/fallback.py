# SPDX-License-Identifier: Apache-2.0
"""Plain TCP where MPTCP was asked for."""

from __future__ import annotations

from tracetw.lab.expect.kernel import MPTCP_READ
from tracetw.lab.expect.lines import ORDERLY, client, got_reset, second, sent_reset, server
from tracetw.lab.expect.match import Claim, known_by
from tracetw.lab.expect.scenario import Scenario
from tracetw.lab.net.topology import Net
from tracetw.lab.polling import eventually
from tracetw.lab.scenarios.moves import abort, see_reset
from tracetw.lab.scenarios.mptcp import (
    ABORTING,
    COMMON,
    connect,
    leave_unread,
    talk,
    to_the_end,
    waiting,
)

__all__ = ["SCENARIOS"]


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


SCENARIOS = (
    Scenario(
        name="mptcp-fallback-unread",
        claim="A client of MPTCP that fell back to TCP closes with unread data: FIN, no RST, and the data is lost.",
        play=fallback_unread,
        a=client(
            **{**ORDERLY, "bytes_unread": waiting(5)},
            form="fin-4",
            first_close="local",
            time_wait="local",
            layer=None,
            mptcp={"role": "fallback"},
            why=known_by(
                MPTCP_READ,
                Claim("never read", lambda text: "5 bytes were never read" in text),
            ),
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
        families=(4,),
        a=client(
            **{**ORDERLY, "bytes_unread": waiting(0)},
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
        families=(4,),
        a=client(
            **sent_reset(
                "abort-linger", "TCP_STATE", "TCP_ABORT_ON_LINGER", "TCP_DISCONNECT_WITH_DATA"
            ),
            owner_from="close",
            layer=None,
            mptcp={"role": "fallback"},
        ),
        b=server(**got_reset(ack=True), layer=None),
        wire={"A>B RST": 1, "FIN": 0},
        counters={"a": {"OutRsts": 1, "TCPAbortOnData": 1}},
        **ABORTING,
    ),
    Scenario(
        name="mptcp-plain-client-unread",
        claim="Plain TCP at a listener of MPTCP (the default of Go) stays plain TCP.",
        play=plain_client_unread,
        a=client(**got_reset(ack=True), layer=None, mptcp=None),
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
)
