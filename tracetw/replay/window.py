# SPDX-License-Identifier: Apache-2.0
"""A stretch of wall time, from what a user wrote."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

import numpy as np
from numpy.typing import NDArray

from tracetw.errors import BadInput
from tracetw.recording.reader import Recording
from tracetw.stream.parse import seconds

_SECOND = 1_000_000_000
_LONGEST = np.iinfo(np.int64).max
_CLOCK = re.compile(r"\d{1,2}:\d{2}(:\d{2}(\.\d+)?)?Z?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Window:
    """From ``since_ns`` (inclusive) to ``until_ns`` (exclusive), nanoseconds since 1970."""

    since_ns: int = -_LONGEST
    until_ns: int = _LONGEST

    @classmethod
    def parse(
        cls, since: str | None, until: str | None, last_ns: int, *, utc: bool = False
    ) -> Window:
        """From the texts of ``--since`` and ``--until``.

        Args:
            since, until: ``2026-01-02T03:04:05``, ``2026-01-02 03:04``, a time of the day on which
                the recordings end (``12:04:07``), or a time before their end (``30m``). Local time
                unless it ends in ``Z`` or an offset.
            last_ns: wall time of that end.
            utc: UTC instead of local time, as what is shown.

        Raises BadInput naming the value and the valid forms.
        """
        window = cls(
            -_LONGEST if since is None else _bounded(_moment("--since", since, last_ns, utc=utc)),
            _LONGEST if until is None else _bounded(_moment("--until", until, last_ns, utc=utc)),
        )
        if window.since_ns >= window.until_ns:
            raise BadInput(f"--since {since} is not before --until {until}", "swap them")
        return window

    @classmethod
    def of_recordings(
        cls,
        since: str | None,
        until: str | None,
        recordings: Sequence[Recording],
        *,
        utc: bool = False,
    ) -> Window:
        """As :meth:`parse`, with the end of the last of these.

        Raises BadInput, too, when nothing of them is in it.
        """
        headers = [recording.header for recording in recordings]
        first = min(min(one.run_started_ns, one.started_ns) for one in headers)
        last = max(one.ended_ns or one.started_ns for one in headers)
        window = cls.parse(since, until, last, utc=utc)
        for option, text, outside, edge, what in (
            ("--since", since, window.since_ns > last + _SECOND, last, "after the end"),
            ("--until", until, window.until_ns <= first, first, "before the beginning"),
        ):
            if outside:
                raise BadInput(
                    f"{option} {text} is {what} of the recordings ({_shown(edge)})",
                    f"they are from {_shown(first)} to {_shown(last)}",
                )
        return window

    def mask(self, at: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of the times are in it."""
        inside: NDArray[np.bool_] = (at >= self.since_ns) & (at < self.until_ns)
        return inside

    def touches(self, since_ns: int, until_ns: int) -> bool:
        """Is some of this time in it? Both ends belong to the time."""
        return until_ns >= self.since_ns and since_ns < self.until_ns


ALWAYS = Window()
"""All times."""


def _bounded(wall_ns: int) -> int:
    """As 64 bits hold it: the year 1 is before everything."""
    return max(-int(_LONGEST), min(int(_LONGEST), wall_ns))


def _moment(option: str, text: str, last_ns: int, *, utc: bool) -> int:
    word = text.strip()
    if _CLOCK.fullmatch(word):
        utc = utc or word.endswith("Z")
        convert = time.gmtime if utc else time.localtime
        hour, _, rest = word.rstrip("Z").partition(":")
        word = time.strftime("%Y-%m-%dT", convert(last_ns / _SECOND)) + f"{hour:0>2}:{rest}"
        word += "Z" if utc else ""
    try:
        moment = datetime.fromisoformat(re.sub(r"Z$", "+00:00", _micros(word)))
    except ValueError:
        try:
            return last_ns - int(seconds(option, word) * _SECOND)
        except BadInput:
            raise BadInput(
                f"{option} {text!r} is no time",
                "give one as in 2026-01-02T03:04:05, 12:04:07, or 30m for before the end",
            ) from None
    try:
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=timezone.utc) if utc else moment.astimezone()
    except (ValueError, OverflowError, OSError):  # the first and the last year, in another zone
        moment = moment.replace(tzinfo=timezone.utc)
    since_epoch = moment - datetime(1970, 1, 1, tzinfo=timezone.utc)
    micros = (since_epoch.days * 86400 + since_epoch.seconds) * 10**6 + since_epoch.microseconds
    return micros * 1000


def _shown(wall_ns: int) -> str:
    """In UTC, to the second, as an option takes it."""
    moment = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=wall_ns // _SECOND)
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _micros(word: str) -> str:
    """A fraction of a second with the six digits that Python 3.10 reads."""
    return re.sub(r"\.(\d+)", lambda match: f".{match[1]:0<6.6}", word)
