# SPDX-License-Identifier: Apache-2.0
"""Numbers, names and addresses in few columns, for people."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tracetw.sink.remembered import Remembered
from tracetw.text import ELLIPSIS

# Characters of the end of an IPv6 address that tell hosts apart: two groups. Only with more room
# than that, its beginning is shown as well.
_END = 9
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


# Every limit of span() and every place where it rounds is a multiple of this, so that times between two
# multiples have one text.
_STEP = 500
_spans: Remembered[int, str] = Remembered(lambda key: span(key // 2 * _STEP + key % 2), 1 << 14)


def spans(ns: NDArray[np.int64], unknown: str) -> list[str]:
    """``span`` of each time; ``unknown`` for what is negative."""
    step, rest = np.divmod(ns, _STEP)
    keys = (2 * step + (rest > 0)).tolist()
    return [_spans[key] if key >= 0 else unknown for key in keys]


def size(count: int) -> str:
    """Bytes in at most five columns: ``0``, ``1023``, ``1.5K``, ``640M``."""
    value = float(count)
    for unit in _UNITS:
        if round(value) < _KILO or unit == _UNITS[-1]:
            break
        value /= _KILO
    return f"{value:.1f}{unit}" if unit and value < 10 else f"{value:.0f}{unit}"  # noqa: PLR2004


def amount(count: int, noun: str) -> str:
    """``0 records``, ``1 record``, ``1,234 records``; the plural of ``noun`` has an s."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def share(part: int, whole: int) -> str:
    """A part as percentage: ``12.3%``, ``<0.1%``, ``>99.9%``; only nothing is 0 and all is 100."""
    if part <= 0 or whole <= 0:
        return "0%"
    if part >= whole:
        return "100%"
    percent = 100 * part / whole
    if percent < 0.1:  # noqa: PLR2004 (the last digit shown)
        return "<0.1%"
    return ">99.9%" if percent > 99.9 else f"{percent:.1f}%"  # noqa: PLR2004


def endpoint(address: str, port: int, width: int | None = None) -> str:
    """``10.0.0.1:443`` or ``[2001:db8::1]:443`` in at most ``width`` columns.

    An IPv4 address that is too long loses its beginning. An IPv6 address keeps its end, in which hosts of a
    network differ, and as much of the beginning as there is room for.
    """
    if not port:
        whole = address if width is None else address[-width:]
        return whole if len(whole) == len(address) else ELLIPSIS + whole[1:]
    is_v6 = ":" in address
    whole = f"[{address}]:{port}" if is_v6 else f"{address}:{port}"
    if width is None or len(whole) <= width:
        return whole
    if not is_v6:
        return ELLIPSIS + whole[1 - width :]
    room = width - len(f"[{ELLIPSIS}]:{port}")
    end = min(room, max(_END, room // 2))
    return f"[{address[: room - end]}{ELLIPSIS}{address[len(address) - end :]}]:{port}"


def endpoints(addresses: Sequence[str], ports: Sequence[int], width: int | None) -> list[str]:
    """``endpoint`` of each."""
    if 0 in ports or any(":" in address for address in addresses):
        return [endpoint(*end, width) for end in zip(addresses, ports, strict=True)]
    texts = [f"{address}:{port}" for address, port in zip(addresses, ports, strict=True)]
    if width is None:
        return texts
    return [text if len(text) <= width else ELLIPSIS + text[1 - width :] for text in texts]
