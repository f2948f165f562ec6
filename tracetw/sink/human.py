# SPDX-License-Identifier: Apache-2.0
"""Numbers, names and addresses in few columns, for people."""

from __future__ import annotations

import unicodedata

__all__ = ["ELLIPSIS", "clip", "endpoint", "printable", "size", "span"]

ELLIPSIS = "…"
# Below this width only the end of an address is shown: it is what differs.
_BOTH_ENDS = 18
_SPANS = (
    # below so many seconds, format, divisor
    (0.001, "{:.0f}us", 1e-6),
    (0.01, "{:.1f}ms", 1e-3),
    (1.0, "{:.0f}ms", 1e-3),
    (60.0, "{:.1f}s", 1.0),
)
_UNITS = ("", "K", "M", "G", "T", "P")
_KILO = 1024


def span(ns: int) -> str:
    """A time in at most seven columns: ``87us``, ``1.3ms``, ``35ms``, ``1.2s``, ``2m03s``, ``5h12m``."""
    seconds = ns / 1e9
    for below, form, unit in _SPANS:
        if round(seconds, 6) < below:
            return form.format(seconds / unit)
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d{hours:02d}h"
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{rest:02d}s"


def size(count: int) -> str:
    """Bytes in at most five columns: ``0``, ``1023``, ``1.5K``, ``640M``."""
    value = float(count)
    for unit in _UNITS:
        if round(value) < _KILO or unit == _UNITS[-1]:
            break
        value /= _KILO
    return f"{value:.1f}{unit}" if unit and value < 10 else f"{value:.0f}{unit}"  # noqa: PLR2004


def clip(text: str, width: int) -> str:
    """The beginning of a text that is too long, with an ellipsis."""
    return text if len(text) <= width else text[: width - 1] + ELLIPSIS


def printable(text: str) -> str:
    """A text that comes from anywhere, made safe for a terminal: one column per character."""
    return "".join(character if _one_column(character) else "?" for character in text)


def _one_column(character: str) -> bool:
    return (
        character.isprintable()
        and unicodedata.east_asian_width(character) not in "WF"
        and not unicodedata.combining(character)
    )


def endpoint(address: str, port: int, width: int | None = None) -> str:
    """``10.0.0.1:443`` or ``[2001:db8::1]:443`` in at most ``width`` columns.

    What does not fit is left out in front, or in the middle of an IPv6 address.
    """
    if not port:
        return address
    is_v6 = ":" in address
    whole = f"[{address}]:{port}" if is_v6 else f"{address}:{port}"
    if width is None or len(whole) <= width:
        return whole
    if is_v6 and width >= _BOTH_ENDS:
        room = width - len(f"[{ELLIPSIS}]:{port}")
        head = (room + 1) // 2
        return f"[{address[:head]}{ELLIPSIS}{address[head - room :]}]:{port}"
    return ELLIPSIS + whole[1 - width :]
