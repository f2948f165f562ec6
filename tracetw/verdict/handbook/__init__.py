# SPDX-License-Identifier: Apache-2.0
"""The handbook for whoever is on call: causes, remedies and folklore of each verdict and event.

``tracetw explain`` prints it, and ``scripts/gen-verdicts`` makes docs/verdicts.md out of it.
"""

from __future__ import annotations

from collections.abc import Mapping

from tracetw.verdict.handbook.aborts import ABORTS
from tracetw.verdict.handbook.attempts import ATTEMPTS
from tracetw.verdict.handbook.closes import CLOSES
from tracetw.verdict.handbook.drops import DROP_EVENTS
from tracetw.verdict.handbook.entry import Event, Folklore, OnCall, Symptom
from tracetw.verdict.handbook.symptoms import SYMPTOMS
from tracetw.verdict.handbook.timeouts import TIMEOUTS
from tracetw.verdict.handbook.timewait import SETTINGS, TIMEWAIT_EVENTS

__all__ = [
    "DROP_EVENTS",
    "HANDBOOK",
    "SETTINGS",
    "SYMPTOMS",
    "TIMEWAIT_EVENTS",
    "Event",
    "Folklore",
    "OnCall",
    "Symptom",
]

HANDBOOK: Mapping[str, OnCall] = {**CLOSES, **ABORTS, **TIMEOUTS, **ATTEMPTS}
"""Code of a verdict to its entry."""
