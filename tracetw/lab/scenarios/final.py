# SPDX-License-Identifier: Apache-2.0
"""Numbers that are final or null, and limits as the kernel computes them."""

from __future__ import annotations

import socket
from contextlib import suppress

from tracetw.lab.expect.lines import (
    client,
    connected,
    first,
    got_reset,
    limit,
    says,
    second,
    sent_reset,
    server,
    timed_out,
)
from tracetw.lab.expect.match import accepted, at_least, one_of
from tracetw.lab.expect.scenario import Scenario
from tracetw.lab.net.topology import Link, Net
from tracetw.lab.polling import eventually, require
from tracetw.lab.scenarios.timeout import SMALL, fill_the_window

__all__ = ["SCENARIOS"]

ANSWER = bytes(1000)
RTO_MAX = "tcp_rto_max_ms"
ALIVE = {RTO_MAX: 1000}


def half_close_and_be_answered(net: Net) -> Link:
    """A is in TIME_WAIT with B's answer unread."""
    link = net.connect()
    link.a.shutdown(socket.SHUT_WR)
    eventually(lambda: net.a.states() == ["FIN_WAIT2"])
    link.b.sendall(ANSWER)
    eventually(lambda: net.a.unread() == len(ANSWER), what="B's answer is in A's queue")
    link.b.close()
    eventually(lambda: net.a.states() == ["TIME_WAIT"])
    net.step("A has B's answer in its queue, and its FIN: TIME_WAIT begins")
    return link


def read_after_time_wait(net: Net) -> None:
    link = half_close_and_be_answered(net)
    require(len(link.a.recv(4 * SMALL, socket.MSG_WAITALL)) == len(ANSWER), "A did not read")
    net.step("A reads everything and closes")
    link.a.close()


def close_after_time_wait(net: Net) -> None:
    link = half_close_and_be_answered(net)
    net.step("A closes without reading")
    link.a.close()


def keep_after_time_wait(net: Net) -> None:
    link = half_close_and_be_answered(net)
    eventually(
        lambda: net.reported("a") == 1, what="A's line, while its application may still read"
    )
    link.a.close()


def close_long_after_shutdown(net: Net) -> None:
    link = net.connect()
    link.a.shutdown(socket.SHUT_WR)
    eventually(lambda: net.a.states() == ["FIN_WAIT2"])
    link.a.settimeout(1.5)
    with suppress(TimeoutError):
        link.a.recv(100)
    net.step("A has waited for 1.5 s in FIN_WAIT2, with the descriptor open, and closes")
    link.a.close()
    eventually(lambda: net.a.states() == [])
    net.step("A's FIN_WAIT2 has run out")
    link.b.close()


def leave_a_full_window(net: Net) -> None:
    link = fill_the_window(net)
    net.step("B reads nothing but is alive; A closes with data unsent")
    link.a.close()
    eventually(lambda: net.a.states() == [])
    net.step("A has given the orphan up, though B answered every probe")
    link.b.close()


def leave_a_full_window_and_vanish(net: Net) -> None:
    link = fill_the_window(net)
    drop = net.drop(net.b)
    link.a.close()
    eventually(lambda: net.a.states() == [])
    drop.lift()
    link.b.close()


def fin_to_nobody(net: Net) -> None:
    link = net.connect()
    drop = net.drop(net.b)
    link.a.close()
    eventually(lambda: net.a.states() == [])
    drop.lift()
    link.b.close()


LEFT = server(
    **got_reset(
        "peer-lost-state",
        ack=False,
        error=one_of("ECONNRESET", "EPIPE", None),
        first_close=one_of("remote", "local"),
    )
)
UNREAD_AT_B = server(**sent_reset("abort-unread", "TCP_ABORT_ON_CLOSE"))

SCENARIOS = (
    Scenario(
        name="read-after-time-wait",
        claim="TIME_WAIT begins with data in the queue, and the application reads it afterwards: nothing is"
        " unread in the end.",
        play=read_after_time_wait,
        a=client(**{**first("fin-4"), "bytes_received": len(ANSWER)}),
        b=server(**second("fin-4")),
        wire={"B>A DATA": 1, "RST": 0, "A>B FIN": 1, "B>A FIN": 1},
        order=("A>B FIN", "B>A DATA", "B>A FIN"),
        counters={"a": {"TCPAbortOnClose": 0}},
    ),
    Scenario(
        name="unread-after-time-wait",
        claim="The same, but the application closes without reading: the data is lost without a RST.",
        play=close_after_time_wait,
        a=client(**{**first("fin-4"), "bytes_unread": len(ANSWER)}),
        b=server(**second("fin-4")),
        wire={"B>A DATA": 1, "RST": 0},
        counters={"a": {"TCPAbortOnClose": 0}},
    ),
    Scenario(
        name="open-after-time-wait",
        claim="The same, but the application keeps the descriptor: what it will read is not known yet.",
        play=keep_after_time_wait,
        a=client(**{**first("fin-4"), "bytes_unread": None, "owner_from": one_of("diag", "close")}),
        b=server(**second("fin-4")),
        wire={"B>A DATA": 1, "RST": 0},
        counters={"a": {"TCPAbortOnClose": 0}},
    ),
    Scenario(
        name="fin-wait2-of-an-open-socket",
        claim="FIN_WAIT2 has no limit while the descriptor is open: tcp_fin_timeout counts from close() on.",
        play=close_long_after_shutdown,
        sysctls={"a": {"tcp_fin_timeout": 1}},
        a=client(
            **timed_out("fin-wait2-timeout", error=None, first_close="local"),
            states=connected("FIN_WAIT1", "FIN_WAIT2", "CLOSE"),
            limit=limit("tcp_fin_timeout", 1, 900, 1450),
        ),
        b=server(
            **got_reset(
                "peer-lost-state",
                ack=False,
                error=one_of("ECONNRESET", None),
                states=accepted("CLOSE_WAIT", "LAST_ACK", "CLOSE"),
            )
        ),
        wire={"A>B FIN": 1, "B>A FIN": 1, "A>B RST !ACK": 1},
        counters={"a": {"OutRsts": 1}},
        seconds=3,
    ),
    Scenario(
        name="orphan-probed-in-vain",
        claim="An orphan whose peer answers every window probe is given up when the back-off reaches"
        " TCP_RTO_MAX, not after tcp_orphan_retries.",
        play=leave_a_full_window,
        sysctls={"a": ALIVE},
        a=client(
            **timed_out("window-probe-expired", first_close="local"),
            states=connected("FIN_WAIT1", "CLOSE"),
            limit=limit("TCP_RTO_MAX", 1000, 300, 10_000),
            probes={"total": 0},
            why=says(
                "the back-off reached TCP_RTO_MAX (1000 ms)", without=("unanswered", "orphan")
            ),
        ),
        b=UNREAD_AT_B,
        wire={"B>A ZERO": at_least(3), "A>B FIN": 0},
        counters={"a": {"TCPAbortOnTimeout": 1, "TCPWinProbe": at_least(3)}},
        seconds=3,
    ),
    Scenario(
        name="orphan-probed-without-answer",
        claim="An orphan whose peer is silent is given up after tcp_orphan_retries probes.",
        play=leave_a_full_window_and_vanish,
        sysctls={"a": {"tcp_orphan_retries": 2}},
        a=client(
            **timed_out("window-probe-expired", first_close="local"),
            limit=limit("tcp_orphan_retries", 2, 100, 10_000),
            probes={"total": at_least(2), "what": "window"},
            why=says("probes stayed unanswered", "tcp_orphan_retries (2) ran out"),
        ),
        b=UNREAD_AT_B,
        wire={"A>B FIN": 0},
        counters={"a": {"TCPAbortOnTimeout": 1}},
        seconds=3,
    ),
    Scenario(
        name="orphan-fin-at-rto-max",
        claim="Once the timeout of an orphan has grown to TCP_RTO_MAX, tcp_orphan_retries 0 means 0: the next"
        " timeout ends it, long before 8 attempts.",
        play=fin_to_nobody,
        sysctls={"a": ALIVE},
        a=client(
            **timed_out("fin-exhausted", first_close="local"),
            states=connected("FIN_WAIT1", "CLOSE"),
            limit=limit("TCP_RTO_MAX", 1000, 900, 20_000),
            why=says("the back-off reached TCP_RTO_MAX (1000 ms)", without=("without an answer",)),
        ),
        b=LEFT,
        wire={"A>B FIN": at_least(3), "B>A FIN": 1, "A>B RST !ACK": 1},
        counters={"a": {"TCPAbortOnTimeout": 1}},
        seconds=4,
    ),
)
