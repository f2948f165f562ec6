# SPDX-License-Identifier: Apache-2.0
"""The places where records are lost, as a live trace names them (``Loss.where``), and what helps against each."""

from __future__ import annotations

CLOSES = "ring buffer of closes"
EVENTS = "ring buffer of events"
NOT_ANNOUNCED = "end not announced by the kernel"
INTERRUPTED = "program interrupted on its CPU"

_FEWER = "A filter that lets fewer through helps."
ADVICE = {
    CLOSES: _FEWER,
    EVENTS: _FEWER,
    NOT_ANNOUNCED: "No option helps against ends that the kernel ran no program for (README, Limits).",
    INTERRUPTED: "No option helps against programs that the kernel skipped.",
}
"""Of a place that is not here, nothing is known that helps."""
