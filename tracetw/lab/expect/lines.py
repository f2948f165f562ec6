# SPDX-License-Identifier: Apache-2.0
"""What a ``close`` line holds about a connection of the usual topology: A connected to B.

Addresses are not named here: they follow from the role and the IP version, and a play may overrule
them (:meth:`tracetw.lab.net.topology.Net.learn`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeAlias

from tracetw.lab.expect.match import (
    SOME,
    Claim,
    accepted,
    at_least,
    between,
    known_by,
    one_of,
    path,
)
from tracetw.lab.net.host import PORT
from tracetw.lab.polling import patient

__all__ = [
    "ALWAYS",
    "FORGETS",
    "FORGOTTEN",
    "LEFT_BEHIND",
    "NO_RETRANSMITS",
    "ORDERLY",
    "QUIET",
    "Expectation",
    "addressed",
    "born",
    "client",
    "connected",
    "first",
    "got_reset",
    "limit",
    "refused",
    "says",
    "second",
    "sent_by_us",
    "sent_reset",
    "server",
    "simultaneous",
    "timed_out",
]

Expectation: TypeAlias = Mapping[str, Any]

LONGEST_MS = 150_000

# What every line has, whatever it reports.
ALWAYS: Expectation = {
    "v": at_least(1),
    "kind": "close",
    "time": Claim("RFC 3339, UTC", lambda value: value[10] == "T" and value[-1] == "Z"),
    "host": os.uname().nodename,
    "why": SOME,
    "evidence": SOME,
    "confidence": one_of("proven", "inferred"),
    "duration_ms": between(0, LONGEST_MS),
}

NO_RETRANSMITS: Expectation = {"total": 0, "fin": 0}

# Nothing was lost on the way: only for connections that a slow machine cannot make retransmit.
QUIET: Expectation = {
    "retransmits": NO_RETRANSMITS,
    "bytes_unread": 0,
    "bytes_unacked": 0,
    "limit": None,
}


def client(**more: object) -> Expectation:
    """The line of A, which connected."""
    return {"role": "client", **more}


def server(**more: object) -> Expectation:
    """The line of B, which accepted."""
    return {"role": "server", **more}


def addressed(role: str, addresses: Mapping[str, str], family: int) -> Expectation:
    """Address fields of a line; ``addresses`` are those of A and B as the end's host sees them."""
    ends = {
        "client": {"addr": addresses["a"], "port": at_least(1024)},
        "server": {"addr": addresses["b"], "port": PORT},
    }
    other = {"client": "server", "server": "client"}[role]
    return {"family": family, "local": ends[role], "remote": ends[other]}


def connected(*names: str) -> Claim:
    """The path of a client from SYN_SENT and ESTABLISHED on."""
    return path("SYN_SENT", "ESTABLISHED", *names)


def limit(name: str, value: int, low_ms: int, high_ms: int) -> Expectation:
    """A limit that ran out. ``high_ms`` is generous: a timer may fire late on a busy machine."""
    return {"name": name, "value": value, "elapsed_ms": between(low_ms, patient(high_ms))}


ORDERLY: Expectation = {
    **QUIET,
    "verdict": "orderly",
    "closed_by": "app",
    "exit": None,
    "owner_from": "close",
    "confidence": "proven",
    "reset": None,
    "error": None,
    "teardown_ms": between(0, LONGEST_MS),
}


def first(form: str, **more: object) -> Expectation:
    """The end whose FIN came first."""
    return {**ORDERLY, "form": form, "first_close": "local", "time_wait": "local", **more}


def second(form: str, **more: object) -> Expectation:
    """The end that answered a FIN."""
    end = {"first_close": "remote", "closed_by": "peer", "time_wait": "remote"}
    return {**ORDERLY, "form": form, **end, **more}


def simultaneous(**more: object) -> Expectation:
    """Either end where the two FINs crossed."""
    form = {"form": "fin-simultaneous", "first_close": "both", "time_wait": "local"}
    return {**ORDERLY, **form, **more}


def timed_out(verdict: str, **more: object) -> Expectation:
    """What all lines of a timer that gave up have."""
    return {
        "verdict": verdict,
        "form": "timeout",
        "first_close": "none",
        "closed_by": "kernel-timer",
        "exit": None,
        "time_wait": "none",
        "error": "ETIMEDOUT",
        **more,
    }


def born(number: int) -> Any:  # noqa: ANN401 (stands for any value)
    """TW when so many TIME_WAITs have begun and none has expired."""
    return known_by("tw-at-birth", number, otherwise=0)


def refused(reason: str) -> Any:  # noqa: ANN401 (an event of which more or less is known)
    """A packet is dropped for this reason: once with its socket, without it, or never seen."""
    seen = known_by(
        "drop-socket", {"role": "server", "reason": reason}, otherwise={"reason": reason}
    )
    return known_by(reason, seen, otherwise=0)


def says(*parts: str, without: tuple[str, ...] = ()) -> Claim:
    """A sentence with these parts, and without those."""
    words = f"a sentence with {parts}" + (f" and without {without}" if without else "")
    return Claim(
        words,
        lambda text: (
            all(part in text for part in parts) and not any(part in text for part in without)
        ),
    )


def sent_by_us(verdict: str, *reasons: str) -> Any:  # noqa: ANN401 (stands for any value)
    """The reset of ours, with one of the kernel's ``reasons``; the verdict where it gives none."""
    inferred = {"direction": "sent", "reason": verdict, "reason_from": "inferred"}
    named = {"direction": "sent", "reason": one_of(*reasons), "reason_from": "kernel"}
    return known_by("reset-reason", named, otherwise=inferred)


def sent_reset(verdict: str, *reasons: str, **more: object) -> Expectation:
    """What all lines of a reset that this end sent have; ``reasons`` are the kernel's names."""
    return {
        "verdict": verdict,
        "form": "rst-sent",
        "first_close": "local",
        "closed_by": "app",
        "exit": None,
        "time_wait": "none",
        "reset": sent_by_us(verdict, *reasons),
        "limit": None,
        **more,
    }


def got_reset(
    verdict: str | Claim = "peer-reset", *, ack: bool | None = None, **more: object
) -> Expectation:
    """What all lines of a received reset have. ``ack``: its ACK flag, where the kernel shows it."""
    return {
        "verdict": verdict,
        "form": "rst-received",
        "first_close": "remote",
        "closed_by": "peer",
        "exit": None,
        "time_wait": "none",
        "reset": {"direction": "received", "ack_flag": one_of(ack, None)},
        "error": "ECONNRESET",
        "limit": None,
        **more,
    }


LEFT_BEHIND: Expectation = got_reset("peer-lost-state", ack=False, states=accepted("CLOSE"))
"""The peer of a connection that was given up in silence: its next segment meets no socket."""

FORGETS: Expectation = {
    **timed_out("fin-wait2-timeout", error=None, first_close="local"),
    "states": connected("FIN_WAIT1", "FIN_WAIT2", "CLOSE"),
    "owner_from": "close",
}
"""The end that closed first and whose FIN_WAIT2 ran out; its ``limit`` says what of."""
FORGOTTEN: Expectation = got_reset(
    "peer-lost-state",
    ack=False,
    error=one_of("ECONNRESET", None),
    states=accepted("CLOSE_WAIT", "LAST_ACK", "CLOSE"),
    owner_from="close",
)
"""Its peer, whose own FIN comes too late."""
