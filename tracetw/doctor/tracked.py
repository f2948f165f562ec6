# SPDX-License-Identifier: Apache-2.0
"""Settings of connection tracking: when this host's own firewall forgets a connection."""

from __future__ import annotations

from tracetw.doctor.observed import Facts
from tracetw.doctor.setting import Meaning, Means, Setting, exactly, known, text
from tracetw.verdict.timers import TimerClock

PREFIX = "net.netfilter.nf_conntrack_"
_LOST = ("peer-lost-state", "peer-reset", "retransmit-exhausted")
_FORGOTTEN = (
    "lower: connections that are quiet for longer lose their NAT; higher: dead ones fill the table"
)


def _timeout(state: str, what: str, default: int) -> Setting:
    name = f"{PREFIX}tcp_timeout_{state}"

    def means(facts: Facts, _: TimerClock) -> Meaning:
        seconds = float(known(facts, name, default))
        return Meaning(
            f"{what} is forgotten after {text(seconds)}", {"forgotten": exactly(seconds)}
        )

    return Setting(name, (default,), _LOST, (), means, _FORGOTTEN, "s")


def _switch(name: str, default: int, on: str, off: str, price: str) -> Setting:
    full = PREFIX + name

    def means(facts: Facts, _: TimerClock) -> Meaning:
        return Meaning(on if known(facts, full, default) else off)

    return Setting(full, (default,), _LOST, (), means, price)


def _room(full: str) -> Means:
    def means(facts: Facts, _: TimerClock) -> Meaning:
        return Meaning(f"new connections are dropped beyond {known(facts, full, 0):,}")

    return means


TRACKED = (
    _timeout("established", "an idle connection", 432_000),
    _timeout("unacknowledged", "a connection whose data are not acknowledged", 300),
    _timeout("max_retrans", "a connection with 3 repeated segments", 300),
    _timeout("fin_wait", "a connection closed by one side", 120),
    _timeout("close_wait", "a connection closed by one side, acknowledged by the other,", 60),
    _timeout("last_ack", "a connection that waits for the last ACK", 30),
    _timeout("time_wait", "a closed connection", 120),
    _timeout("close", "a connection that was reset", 10),
    _timeout("syn_sent", "a SYN without answer", 120),
    _timeout("syn_recv", "a handshake without the last ACK", 60),
    _switch(
        "tcp_be_liberal",
        0,
        "only RSTs out of the window are INVALID",
        "segments out of the window are INVALID: they lose their NAT, or are dropped",
        "1: a forged segment out of the window passes the firewall",
    ),
    _switch(
        "tcp_loose",
        1,
        "a connection that is already there is picked up in the middle",
        "a connection is tracked from its SYN only",
        "0: after a restart of the firewall all connections are INVALID",
    ),
    Setting(
        f"{PREFIX}max",
        None,
        ("connect-timeout",),
        (),
        _room(f"{PREFIX}max"),
        "higher: about 320 bytes of memory each, and a slower table unless nf_conntrack_buckets grows",
        of_host=True,
    ),
)
