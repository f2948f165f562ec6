# SPDX-License-Identifier: Apache-2.0
"""The handbook for an engineer on call: what each verdict and event means, and what to do about it.

``tracetw explain`` prints it, and ``scripts/gen-verdicts`` makes docs/verdicts/ out of it.
"""

from __future__ import annotations

from tracetw.verdict.handbook.drops import DROP_EVENTS
from tracetw.verdict.handbook.entry import Choice, EventEntry, Folklore, OnCall, Question, Symptom
from tracetw.verdict.handbook.guide import EVENTS, GUIDES, HANDBOOK, HEADINGS, Guide, Lacked
from tracetw.verdict.handbook.settings import SETTINGS
from tracetw.verdict.handbook.symptoms import SYMPTOMS
from tracetw.verdict.handbook.timewait import TIMEWAIT_EVENTS

__all__ = [
    "DROP_EVENTS",
    "EVENTS",
    "GUIDES",
    "HANDBOOK",
    "HEADINGS",
    "SETTINGS",
    "SYMPTOMS",
    "TIMEWAIT_EVENTS",
    "Choice",
    "EventEntry",
    "Folklore",
    "Guide",
    "Lacked",
    "OnCall",
    "Question",
    "Symptom",
]
