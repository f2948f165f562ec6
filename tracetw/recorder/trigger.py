# SPDX-License-Identifier: Apache-2.0
"""Conditions on which the recorder keeps the last minutes for good."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tracetw.errors import BadInput
from tracetw.verdict.taxonomy import VERDICT_INDEX, VERDICTS

SIGNAL = "signal"
_ABNORMAL = "abnormal"
_FORM = re.compile(r"(verdict|rate):([a-z0-9-]+)(?:>(\d+(?:\.\d+)?)(?:/s)?)?", re.ASCII)
_HINT = "give verdict:CODE, rate:CODE>N/s (CODE may be abnormal) or signal"


@dataclass(frozen=True, slots=True)
class Trigger:
    """Connections with one of ``verdicts`` at more than ``rate`` a second; None: by a signal."""

    text: str
    verdicts: NDArray[np.bool_] | None
    rate: float

    @classmethod
    def parse(cls, text: str) -> Trigger:
        """From the option. Raises BadInput."""
        if text == SIGNAL:
            return cls(text, None, 0.0)
        match = _FORM.fullmatch(text)
        if match is None or (match[1] == "rate") != (match[3] is not None):
            raise BadInput(f"--trigger {text!r} is no condition", _HINT)
        code = match[2]
        if code == _ABNORMAL:
            wanted = np.array([verdict.abnormal for verdict in VERDICTS])
        elif code in VERDICT_INDEX:
            wanted = np.arange(len(VERDICTS)) == VERDICT_INDEX[code]
        else:
            raise BadInput(f"--trigger {code!r} is no verdict", "tracetw explain lists them")
        return cls(text, wanted, float(match[3] or 0))


class Triggers:
    """Which conditions hold.

    A condition that fired rests for ``rest_s``; when it still holds then it fires again, so that
    the recorder keeps all of a long incident.
    """

    def __init__(self, triggers: Iterable[Trigger], rest_s: float) -> None:
        self._triggers = tuple(triggers)
        self._rest_s = rest_s
        self._rests_until = [float("-inf")] * len(self._triggers)
        # Of a second at most: more than the rate within less than a second is more than the rate.
        self._counts = np.zeros(len(VERDICTS), np.int64)
        self._since_s = float("-inf")

    def closes(self, verdict: NDArray[np.uint8], now_s: float) -> list[str]:
        """Count a batch of verdicts (indexes in ``VERDICTS``); the texts of those that fire."""
        if not self._triggers:
            return []
        if now_s - self._since_s >= 1.0:
            self._since_s = now_s
            self._counts[:] = 0
        self._counts += np.bincount(verdict, minlength=len(VERDICTS))
        fired = []
        for place, trigger in enumerate(self._triggers):
            if trigger.verdicts is None or now_s < self._rests_until[place]:
                continue
            if self._counts[trigger.verdicts].sum() > trigger.rate:
                self._rests_until[place] = now_s + self._rest_s
                fired.append(trigger.text)
        return fired

    def signalled(self) -> bool:
        """Is a signal one of them?"""
        return any(trigger.verdicts is None for trigger in self._triggers)
