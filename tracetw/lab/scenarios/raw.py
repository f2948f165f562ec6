# SPDX-License-Identifier: Apache-2.0
"""Segments that should not have come: strayed, late, or of a peer that has forgotten."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any

from tracetw.lab.expect.lines import (
    LEFT_BEHIND,
    born,
    client,
    connected,
    first,
    got_reset,
    refused,
    second,
    server,
)
from tracetw.lab.expect.match import accepted, at_least, known_by
from tracetw.lab.expect.scenario import Scenario
from tracetw.lab.net.fault import PURE_ACKS
from tracetw.lab.net.peer import Peer
from tracetw.lab.net.topology import Link, Net
from tracetw.lab.polling import eventually, require
from tracetw.lab.scenarios.moves import see_reset, talk
from tracetw.lab.scenarios.reuse import (
    LOCAL,
    LONG_AGO,
    PAWS_IN_TIME_WAIT,
    STRAY,
    TW_PAWS,
    close_by_a,
    leave_time_wait,
)

__all__ = ["SCENARIOS"]

TCP_REPAIR = 19
BEYOND = 1 << 28
"""More than any window."""


def connect(net: Net) -> tuple[Link, Peer]:
    """A connection with some data on it, and who speaks in A's name to B."""
    peer = Peer(net, net.a, net.b)
    link = net.connect()
    talk(link)
    return link, peer


def challenge(net: Net) -> None:
    link, peer = connect(net)
    peer.say("R", ahead=STRAY)
    net.step("a RST in A's name, in B's window but not at its beginning")
    eventually(lambda: net.b.counters()["TCPChallengeACK"] == 1, what="B's challenge ACK")
    close_by_a(net, link)


def miss_the_window(net: Net) -> None:
    link, peer = connect(net)
    peer.say("R", ahead=BEYOND)
    net.step("a RST in A's name, beyond B's window")
    peer.say("R", ahead=-1)
    net.step("another, one byte before it")
    close_by_a(net, link)


def hit_exactly(net: Net) -> None:
    link, peer = connect(net)
    peer.say("R")
    net.step("a RST in A's name, exactly at what B expects next")
    see_reset(link.b)
    link.a.sendall(b"anyone?")
    see_reset(link.a)


def repeat_old_data(net: Net) -> None:
    link, peer = connect(net)
    peer.say("PA", age=LONG_AGO, payload=b"old")
    net.step("data in A's name where B expects it, but with a timestamp of long ago")
    eventually(lambda: net.b.counters()["PAWSEstab"] == 1, what="B's PAWS")
    close_by_a(net, link)


def assassinate(net: Net) -> None:
    peer = Peer(net, net.b, net.a)
    leave_time_wait(net)
    peer.say("R")
    net.step("a RST in B's name where A's TIME_WAIT expects the next byte")
    eventually(lambda: net.a.states() == [])


def assassination_fails(net: Net) -> None:
    peer = Peer(net, net.b, net.a)
    leave_time_wait(net)
    peer.say("R")
    net.step("a RST in B's name where A's TIME_WAIT expects the next byte")
    require(net.a.states() == ["TIME_WAIT"], "A's TIME_WAIT has gone")


def assassinate_by_accident(net: Net) -> None:
    peer = Peer(net, net.b, net.a)
    leave_time_wait(net)
    peer.say("PA", ahead=-STRAY, payload=b"old")
    net.step("old data in B's name; A acknowledges, but B has no connection any more")
    eventually(lambda: net.a.states() == [])


def repeat_old_data_late(net: Net) -> None:
    peer = Peer(net, net.b, net.a)
    leave_time_wait(net)
    drop = net.drop(net.b, PURE_ACKS)
    peer.say("PA", age=LONG_AGO, payload=b"old")
    net.step("data in B's name with a timestamp of long ago; A's ACK is lost")
    eventually(lambda: drop.packets() == 1, what="A's ACK")
    require(net.a.states() == ["TIME_WAIT"], "A's TIME_WAIT has gone")


def reboot_and_reconnect(net: Net) -> None:
    """A's end goes without a segment; A connects anew from the same port."""
    link = net.connect()
    talk(link)
    where = link.a.getsockname()[:2]
    link.a.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    link.a.close()
    require(net.a.states() == [], "A still has the connection")
    net.step("A's end is gone without a segment, as after a power cut; A connects from that port")
    end = net.client()
    end.bind(where)
    again = net.dial(link.listener, end)
    see_reset(link.b)
    close_by_a(net, again)


STALE = server(**got_reset("stale-syn-reset", ack=False, states=accepted("CLOSE")))
CLOSED: Mapping[str, Any] = {
    "a": client(**first("fin-4")),
    "b": server(**second("fin-4")),
}

SCENARIOS = (
    Scenario(
        name="stray-reset-challenged",
        claim="The kernel answers a RST in the window but not at rcv_nxt with a challenge ACK, and"
        " nothing ends.",
        play=challenge,
        **CLOSED,
        events={"b": {"challenge-ack": refused("TCP_RESET")}},
        wire={"A>B RST !ACK": 1, "B>A RST": 0, "B>A FIN": 1},
        order=("A>B RST", "B>A PURE", "A>B DATA", "A>B FIN"),
        counters={"b": {"TCPChallengeACK": 1, "EstabResets": 0}},
    ),
    Scenario(
        name="stray-reset-out-of-window",
        claim="The kernel drops a RST outside of the window without an answer.",
        play=miss_the_window,
        **CLOSED,
        events={
            "b": {
                "out-of-window-reset": known_by("TCP_INVALID_SEQUENCE", 2, otherwise=0),
                "challenge-ack": 0,
            }
        },
        wire={"A>B RST !ACK": 2, "B>A RST": 0, "B>A FIN": 1},
        order=("A>B RST", "A>B RST", "A>B DATA", "A>B FIN"),
        counters={"b": {"TCPChallengeACK": 0, "EstabResets": 0}},
    ),
    Scenario(
        name="stray-reset-at-rcv-nxt",
        claim="A RST exactly at rcv_nxt ends the connection, whoever sent it.",
        play=hit_exactly,
        a=client(**{**LEFT_BEHIND, "states": connected("CLOSE")}),
        b=server(**LEFT_BEHIND),
        events={"b": {"challenge-ack": 0, "out-of-window-reset": 0}},
        wire={"A>B RST !ACK": 1, "B>A RST !ACK": 1},
        order=("A>B RST", "A>B DATA", "B>A RST"),
        counters={"a": {"EstabResets": 1}, "b": {"EstabResets": 1, "TCPChallengeACK": 0}},
    ),
    Scenario(
        name="old-timestamp",
        claim="The kernel drops data with a timestamp from the past (PAWS), though its sequence"
        " number fits.",
        play=repeat_old_data,
        **CLOSED,
        events={"b": {"paws": refused("TCP_RFC7323_PAWS")}},
        wire={"A>B DATA": 3, "RST": 0, "B>A FIN": 1},
        counters={"b": {"PAWSEstab": 1}},
    ),
    Scenario(
        name="time-wait-killed-by-reset",
        claim="With tcp_rfc1337 0, the default, a RST at rcv_nxt ends TIME_WAIT.",
        play=assassinate,
        **CLOSED,
        events={"a": {"entered": 1, "killed-by-reset": LOCAL, "expired": 0}},
        wire={"B>A RST !ACK": 1, "A>B RST": 0},
        order=("A>B FIN", "B>A FIN", "A>B PURE", "B>A RST"),
        counters={"a": {"TW": born(1)}},
    ),
    Scenario(
        name="time-wait-survives-reset",
        claim="With tcp_rfc1337 1 TIME_WAIT ignores RST.",
        play=assassination_fails,
        sysctls={"a": {"tcp_rfc1337": 1}},
        **CLOSED,
        events={"a": {"entered": 1, "killed-by-reset": 0}},
        wire={"B>A RST !ACK": 1, "A>B RST": 0},
        order=("A>B FIN", "B>A FIN", "A>B PURE", "B>A RST"),
        counters={"a": {"TW": born(1)}},
    ),
    Scenario(
        name="time-wait-killed-by-old-segment",
        claim="TIME_WAIT acknowledges an old segment, and the RST with which the peer answers that"
        " ends TIME_WAIT: nobody need attack.",
        play=assassinate_by_accident,
        **CLOSED,
        events={"a": {"entered": 1, "killed-by-reset": LOCAL}},
        wire={"B>A RST !ACK": 1, "A>B RST": 0},
        order=("B>A FIN", "A>B PURE", "B>A DATA", "A>B PURE", "B>A RST"),
        counters={"a": {"TW": born(1)}, "b": {"OutRsts": 1}},
    ),
    Scenario(
        name="old-timestamp-time-wait",
        claim="TIME_WAIT drops data with a timestamp from the past (PAWS) and answers with an ACK.",
        play=repeat_old_data_late,
        **CLOSED,
        events={
            "a": {
                "entered": 1,
                "paws-timewait": known_by(TW_PAWS, {**LOCAL, "reason": TW_PAWS}, otherwise=0),
            },
        },
        wire={"B>A DATA": 2, "RST": 0},
        order=("B>A FIN", "A>B PURE", "B>A DATA", "A>B PURE"),
        counters={"a": {"TW": born(1), **PAWS_IN_TIME_WAIT}},
    ),
    Scenario(
        name="rebooted-peer-reconnects",
        claim="A peer that has forgotten the connection opens it anew from the same port: challenge"
        " ACK, RST, and the retransmitted SYN finds the port free.",
        play=reboot_and_reconnect,
        a=(
            client(verdict="undetermined", reset=None, states=connected("CLOSE")),
            client(**{**first("fin-4"), "retransmits": {"total": at_least(1), "fin": 0}}),
        ),
        b=(
            known_by(
                "drop-socket",
                STALE,
                otherwise=known_by("challenge_ack", STALE, otherwise=server(**LEFT_BEHIND)),
            ),
            server(**second("fin-4")),
        ),
        events={"b": {"challenge-ack": refused("TCP_INVALID_SYN")}},
        wire={"A>B SYN": 3, "A>B RST !ACK": 1, "B>A RST": 0},
        order=("A>B SYN", "A>B SYN", "B>A PURE", "A>B RST", "A>B SYN", "B>A SYN ACK", "A>B FIN"),
        counters={
            "a": {"OutRsts": 1},
            "b": {"TCPSYNChallenge": 1, "TCPChallengeACK": 1, "EstabResets": 1},
        },
    ),
)
