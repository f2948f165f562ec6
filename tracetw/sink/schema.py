# SPDX-License-Identifier: Apache-2.0
"""The version of the JSON objects."""

from __future__ import annotations

SCHEMA = 1
"""``v`` of every object: a step tells readers that a field changed its meaning or is gone."""
