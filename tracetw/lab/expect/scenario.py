# SPDX-License-Identifier: Apache-2.0
"""A scenario: one way in which a connection ends, as data, and how to play it.

To add one:

1. Choose the file of its family in ``tracetw/lab/scenarios/`` (or add one, and name its
   ``SCENARIOS`` in ``tracetw/lab/catalogue.py``; nothing is found by scanning folders).
2. Write the play, a function of the network (:class:`tracetw.lab.net.topology.Net`: hosts ``net.a``
   and ``net.b``, in between ``net.r`` where there is a router; ``net.family`` is 4 or 6). It opens
   sockets by ``net.connect()``, ``net.keep(net.a.tcp_socket())`` or in a process of its own by
   ``net.actor(net.b, "name")``, breaks things by ``net.drop(net.b, RESETS)`` or a raw socket made
   inside ``with net.a.entered():``, and waits by ``eventually(condition)``: it never sleeps for a
   time. ``net.step("...")`` puts a line into the story. It returns when both ends are over. What
   only the play can know of a line (a pid, a port) it tells by ``net.learn("b", {"pid": ...})``.
   It raises :class:`tracetw.lab.polling.NotPlayed` (by ``require`` and ``fails``) when what it
   needs does not come about.
3. Put a :class:`Scenario` into the file's tuple ``SCENARIOS``::

       Scenario(
           name="close-with-unread-data",
           claim="close() with unread data sends RST instead of FIN.",
           play=unread,
           sysctls={"a": {"tcp_fin_timeout": 1}},
           a=client(**sent_reset("abort-unread", "TCP_ABORT_ON_CLOSE"), bytes_unread=5),
           b=server(**got_reset(ack=True)),
           events={"a": {"entered": 0}},
           wire={"A>B RST ACK": 1, "FIN": 0},
           order=("B>A DATA", "A>B RST"),
           counters={"a": {"OutRsts": 1, "TCPAbortOnClose": 1}},
           seconds=0.1,
       )

Its expectations are subsets: what is not named is free, except that there is one ``close`` line
for each expected end and no other. Where an older kernel cannot show a fact, say which fact and what
is still true (:func:`tracetw.lab.expect.match.known_by`); never ask for a version.
Run it: ``tracetw lab run close-with-unread-data``.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from tracetw.lab.expect.match import EVERYTHING, Claim, resolved
from tracetw.lab.net.topology import Net

__all__ = ["Count", "Differs", "Expectation", "Lines", "Play", "Scenario"]

Play: TypeAlias = Callable[[Net], None]

Expectation: TypeAlias = Mapping[str, Any]
"""A subset of a JSON object: names to values, nested objects or :class:`Claim`."""

Lines: TypeAlias = "Expectation | tuple[Expectation, ...] | None"
"""The ``close`` lines of a host: one, several in any order, or none at all."""

Count: TypeAlias = "int | Claim"


@dataclass(frozen=True, slots=True)
class Differs:
    """The kernel counted ``kernel`` where the verdicts say ``verdicts``.

    ``because`` names the kernel function that makes the difference.
    """

    kernel: int
    verdicts: int
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What is done, what must be reported of it, and what must confirm it from outside.

    Attributes:
        name: for the command line, in words with hyphens.
        claim: what the scenario shows, in one sentence.
        play: does it.
        families: the IP versions with which it is played.
        nat: a router that translates A's address stands between A and B.
        sysctls: by host (``a``, ``b``, ``r``): settings of ``net.ipv4`` for the scenario, on top of
            ``tracetw.lab.net.host.SYSCTLS``. A kernel without one of them skips the scenario.
        a, b: the ``close`` lines of the two hosts.
        events: by host: the name of a ``timewait`` or ``drop`` event to how often it must be there,
            or to a subset of the event that must be there once. Others are free.
        wire: what the capture on the cable at B must show: a pattern to how often. A pattern is a
            direction (``A>B``, ``B>A`` or nothing) and words, all of which must hold: flags (``SYN``,
            ``FIN``, ``RST``, ``ACK``), ``DATA`` (payload), ``EMPTY`` (none), ``PURE`` (an ACK and
            nothing else), ``ZERO`` (window 0), ``ICMP``; ``!`` before a word turns it round.
        order: patterns that must follow one another in this order, others may be between.
        counters: by host: what the kernel must have counted (names of nstat).
        timewait: by host: what ``tracetw timewait`` must say when the play is over: subsets of
            ``sockets``, of ``port`` (the local port with the most) and of ``forecast``.
        differs: by host, then counter: where the kernel counts otherwise than the verdicts do.
        seconds: about how long it takes.
        alone: changes something of the whole machine: nothing else may play meanwhile.
        removes: removes a host: played at the end, when nobody makes a namespace any more, since
            the new one could get the number of the old.
        needs: says why this machine cannot play it, None if it can.
    """

    name: str
    claim: str
    play: Play
    families: tuple[int, ...] = (4, 6)
    nat: bool = False
    sysctls: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    a: Lines
    b: Lines
    events: Mapping[str, Mapping[str, Count | Expectation]] = field(default_factory=dict)
    wire: Mapping[str, Count]
    order: tuple[str, ...] = ()
    counters: Mapping[str, Mapping[str, Count]]
    differs: Mapping[str, Mapping[str, Differs]] = field(default_factory=dict)
    timewait: Mapping[str, Expectation] = field(default_factory=dict)
    seconds: float = 0.5
    alone: bool = False
    removes: bool = False
    needs: Callable[[], str | None] | None = None

    def on(self, shows: Container[str]) -> Scenario:
        """As expected of a kernel that shows this."""
        names = ("sysctls", "a", "b", "events", "counters", "differs")
        return replace(self, **{name: resolved(getattr(self, name), shows) for name in names})

    def verdicts(self) -> tuple[str, ...]:
        """Codes of the verdicts that it expects where all is known, each once, A's first."""
        found: dict[str, None] = {}
        for lines in (self.a, self.b):
            for line in as_lines(resolved(lines, EVERYTHING)):
                if isinstance(line.get("verdict"), str):
                    found[line["verdict"]] = None
        return tuple(found)


def as_lines(lines: Lines) -> tuple[Expectation, ...]:
    """The ``close`` lines of a host as a tuple."""
    if lines is None:
        return ()
    return lines if isinstance(lines, tuple) else (lines,)
