# SPDX-License-Identifier: Apache-2.0
"""Errors of a measurement: one line for the user, no traceback."""

from __future__ import annotations


class BenchError(Exception):
    """Nothing can be measured; the message says what is missing and what to do."""


class NotStarted(Exception):
    """One tracer cannot run here; the message is its reason, for the table."""
