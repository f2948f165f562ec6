# SPDX-License-Identifier: Apache-2.0
"""Segments that arrive twice: at once, or again when the connection they belong to is long over."""

from __future__ import annotations

from tracetw.lab.expect.lines import (
    born,
    client,
    first,
    got_reset,
    refused,
    second,
    sent_reset,
    server,
)
from tracetw.lab.expect.match import SOME, at_least, known_by
from tracetw.lab.expect.scenario import Scenario
from tracetw.lab.net.fault import no_doubling
from tracetw.lab.net.peer import Peer
from tracetw.lab.net.topology import Net
from tracetw.lab.polling import eventually
from tracetw.lab.scenarios.moves import abort, see_reset, talk
from tracetw.lab.scenarios.reuse import LOCAL, close_by_a, dial, leave_time_wait

__all__ = ["SCENARIOS"]


def everything(net: Net) -> None:
    net.duplicate(net.a, net.b)
    net.duplicate(net.b, net.a)
    link = net.connect()
    talk(link)
    link.a.close()
    eventually(lambda: net.a.states() == ["FIN_WAIT2"])
    link.b.close()
    # A's TIME_WAIT may be over as soon: an ACK too many can meet B without its socket, and bring RST.
    eventually(lambda: net.b.states() == [])


def fin_late(net: Net) -> None:
    peer = Peer(net, net.b, net.a)
    leave_time_wait(net)
    peer.repeat("F")
    net.step("B's FIN arrives once more; TIME_WAIT acknowledges, but B has no connection any more")
    eventually(lambda: net.a.states() == [])


def fin_early(net: Net) -> None:
    peer = Peer(net, net.a, net.b)
    link = net.connect()
    talk(link)
    link.a.close()
    eventually(lambda: net.a.states() == ["FIN_WAIT2"])
    peer.repeat("F")
    net.step("A's FIN arrives once more, B is in CLOSE_WAIT; then B closes")
    link.b.close()
    eventually(lambda: net.a.states() == ["TIME_WAIT"])


def syn_after_reuse(net: Net) -> None:
    peer = Peer(net, net.a, net.b)
    link = leave_time_wait(net)
    # With timestamps the old SYN fails PAWS, which is looked at before the SYN on some kernels, and after it
    # on others (tcp_validate_incoming).
    net.a.sysctl(tcp_timestamps=0)
    again = dial(net, link.listener, bound=True)
    talk(again)
    net.step("A has connected again from the same port, without timestamps")
    peer.repeat("S", first=True)
    net.step("the SYN of the first connection arrives once more")
    eventually(lambda: net.b.counters()["TCPChallengeACK"] == 1, what="B's challenge ACK")
    close_by_a(net, again)


def reset_after_reuse(net: Net) -> None:
    peer = Peer(net, net.a, net.b)
    listener = net.listen()
    link = dial(net, listener, bound=True)
    talk(link)
    abort(link.a)
    see_reset(link.b)
    again = dial(net, listener, bound=True)
    talk(again)
    net.step("A has aborted and has connected again from the same port")
    peer.repeat("R")
    net.step("the RST of the first connection arrives once more")
    close_by_a(net, again)


SCENARIOS = (
    Scenario(
        name="everything-twice",
        claim="A network delivers every packet twice: the kernel challenges the second SYN ACK and"
        " acknowledges the second FIN, and each end has one line.",
        play=everything,
        a=client(**{**first("fin-4"), "retransmits": {"fin": 0}}),
        # The second SYN is answered with the SYN+ACK again (tcp_check_req).
        b=server(**{**second("fin-4"), "retransmits": {"total": at_least(1), "fin": 0}}),
        events={
            "a": {
                "entered": 1,
                "challenge-ack": known_by("TCP_INVALID_SYN", at_least(1), otherwise=0),
                "reacked": at_least(1),
            }
        },
        wire={"A>B SYN": 2, "B>A SYN ACK": at_least(2), "A>B FIN": 2, "B>A FIN": 2},
        order=("B>A SYN ACK", "B>A SYN ACK", "A>B FIN", "A>B FIN", "B>A FIN", "A>B PURE"),
        counters={"a": {"TW": born(1), "TCPSYNChallenge": at_least(1)}, "b": {"TW": 0}},
        needs=no_doubling,
    ),
    Scenario(
        name="duplicate-fin",
        claim="CLOSE_WAIT acknowledges a duplicate FIN, and nothing else happens.",
        play=fin_early,
        a=client(**{**first("fin-4"), "form": SOME}),
        b=server(**{**second("fin-4"), "form": SOME}),
        events={"a": {"entered": 1, "reacked": 0}},
        wire={"A>B FIN": 2, "B>A FIN": 1, "RST": 0},
        order=("A>B FIN", "B>A PURE", "A>B FIN", "B>A FIN", "A>B PURE"),
        counters={"a": {"TW": born(1)}},
    ),
    Scenario(
        name="duplicate-fin-time-wait",
        claim="TIME_WAIT acknowledges a duplicate FIN; a sender without the connection answers that"
        " ACK with RST, and TIME_WAIT is over early.",
        play=fin_late,
        a=client(**first("fin-4")),
        b=server(**second("fin-4")),
        events={"a": {"entered": 1, "reacked": 1, "killed-by-reset": LOCAL, "expired": 0}},
        wire={"B>A FIN": 2, "B>A RST !ACK": 1, "A>B RST": 0},
        order=("B>A FIN", "A>B PURE", "B>A FIN", "A>B PURE", "B>A RST"),
        counters={"a": {"TW": born(1)}, "b": {"OutRsts": 1}},
    ),
    Scenario(
        name="duplicate-syn-reused-port",
        claim="The SYN of an earlier connection meets the one that has its port now: the kernel"
        " challenges it, and since the real client knows the connection, nothing ends.",
        play=syn_after_reuse,
        a=(client(**first("fin-4")), client(**first("fin-4"))),
        b=(server(**second("fin-4")), server(**second("fin-4"))),
        events={"b": {"challenge-ack": refused("TCP_INVALID_SYN")}},
        wire={"A>B SYN": 3, "B>A SYN ACK": 2, "RST": 0},
        order=("A>B SYN", "A>B FIN", "A>B SYN", "A>B SYN", "B>A PURE", "A>B FIN"),
        counters={"b": {"TCPSYNChallenge": 1, "TCPChallengeACK": 1, "EstabResets": 0}},
    ),
    Scenario(
        name="duplicate-reset-reused-port",
        claim="The RST of an earlier connection meets the one that has its port now: its sequence"
        " number is out of the window, and the kernel drops it.",
        play=reset_after_reuse,
        a=(
            client(**sent_reset("abort-linger", "TCP_STATE", "TCP_ABORT_ON_LINGER")),
            client(**first("fin-4")),
        ),
        b=(server(**got_reset(ack=True)), server(**second("fin-4"))),
        events={
            "b": {
                "out-of-window-reset": known_by("TCP_INVALID_SEQUENCE", 1, otherwise=0),
                "challenge-ack": 0,
            }
        },
        wire={"A>B RST ACK": 2, "B>A RST": 0, "A>B FIN": 1},
        order=("A>B RST", "A>B SYN", "A>B RST", "A>B FIN", "B>A FIN"),
        counters={"b": {"TCPChallengeACK": 0, "EstabResets": 1}},
    ),
)
