# SPDX-License-Identifier: Apache-2.0
"""A report as one JSON document: for programs, and what the page is made from."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tracetw.host.clock import rfc3339
from tracetw.report.model import Report
from tracetw.sink.schema import SCHEMA


def document(report: Report) -> dict[str, Any]:
    """``kind: report``; every time is RFC 3339 in UTC under the name without ``_ns``."""
    whole = _timed(asdict(report))
    return {"v": SCHEMA, "kind": "report", **whole}


def _timed(value: Any) -> Any:  # noqa: ANN401 (JSON)
    """Nanoseconds as text; a width stays a number, in milliseconds."""
    if isinstance(value, dict):
        return dict(_entry(name, part) for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return [_timed(part) for part in value]
    return value


def _entry(name: str, value: Any) -> tuple[str, Any]:  # noqa: ANN401
    if not name.endswith("_ns"):
        return name, _timed(value)
    stem = name.removesuffix("_ns")
    if stem == "width":
        return f"{stem}_ms", value // 1_000_000
    return stem, None if value is None else rfc3339(value)
