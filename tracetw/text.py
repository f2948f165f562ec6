# SPDX-License-Identifier: Apache-2.0
"""Text from elsewhere, made safe for each kind of output.

Whoever names a process, a control group, a network namespace or a recording may put any bytes into
the name: escape sequences, newlines, characters that reorder or hide others, bytes that are no UTF-8.
``decoded`` and ``well_formed`` make text of a name, the same text for the same bytes everywhere.
Each output then has one function: ``visible`` for people (a terminal, a log, a page), ``json_line``,
``csv_text``, and ``html_text`` and ``html_json`` for a page.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator

ELLIPSIS = "…"
_SURROGATE = re.compile("[\ud800-\udfff]")
# os.fsdecode() puts a byte that is no UTF-8 here (PEP 383).
_BYTE_AT = 0xDC00
_BYTES = range(0xDC80, 0xDD00)
_ASCII = 0x80
_BMP = 0x10000
_SHORT = {"\t": r"\t", "\n": r"\n", "\r": r"\r"}
# Printable for Python, yet nothing is seen: fillers, variation selectors, the empty Braille cell.
_HIDDEN = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]"
)
# Accents on one letter. Two are a Vietnamese name, twenty cover the lines above and below.
_MARKS = 2
# What json.dumps() leaves as it is and a terminal or a script does not: DEL, C1 controls, format
# characters (reordering, zero width), line and paragraph separators, surrogates.
_NOT_IN_JSON = re.compile(
    "[\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f"
    "\ufe00-\ufe0f\ufeff\ufff9-\ufffb\ud800-\udfff\U000110bd\U000110cd\U00013430-\U0001345f"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)
# The last four are the same in full width, which some spreadsheets take for these.
_FORMULA = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")


def decoded(raw: bytes) -> str:
    r"""The text of a name: UTF-8, with ``\xNN`` for each byte that is none."""
    return raw.decode("utf-8", "backslashreplace")


def well_formed(text: str) -> str:
    r"""A text without surrogates: what ``decoded`` makes of the bytes.

    Python keeps a byte of a file name or an argument that is no UTF-8 as a surrogate, and JSON may
    hold any of them as ``\udNNN``; neither can be written as UTF-8.
    """
    return text if text.isascii() else _SURROGATE.sub(lambda found: _escaped(found[0]), text)


def spellings(raw: bytes) -> tuple[str, ...]:
    """How a name is written in JSON and, where that differs, for people: a filter takes either."""
    text = decoded(raw)
    shown = visible(text)
    return (text,) if text == shown else (text, shown)


def visible(text: str) -> str:
    r"""One line for people: what moves the cursor, reorders, hides or joins is shown as an escape.

    ``\x1b``, ``\n``, ``\u202e``, ``\U000e0001``; ``\xNN`` above 7f is a byte that is no UTF-8. A
    backslash stands for itself, as systemd puts them into names.
    """
    if text.isascii():
        if text.isprintable():
            return text
        return "".join(one if one.isprintable() else _escaped(one) for one in text)
    return "".join(_seen(text))


def visible_lines(text: str) -> str:
    """Several lines, each as of ``visible``."""
    return "\n".join(map(visible, text.split("\n")))


def columns(text: str) -> int:
    """Columns of a terminal that a ``visible`` text takes."""
    if text.isascii():
        return len(text)
    return sum(map(_wcwidth(), text))


def clip(text: str, width: int) -> str:
    """The beginning of a ``visible`` text that takes more than ``width`` columns, with an ellipsis."""
    if columns(text) <= width:
        return text
    room = width - 1
    if text.isascii():
        return text[:room] + ELLIPSIS
    measure = _wcwidth()
    for at, character in enumerate(text):
        room -= measure(character)
        if room < 0:
            return text[:at] + ELLIPSIS
    return text


def padded(text: str, width: int) -> str:
    """A ``visible`` text with spaces up to ``width`` columns."""
    return text.ljust(width) if text.isascii() else text + " " * (width - columns(text))


def hanging(lead: str, text: str, width: int) -> str:
    """A paragraph that begins with ``lead`` and hangs below its end; words stay whole."""
    from textwrap import fill  # noqa: PLC0415 (no line of a trace needs it)

    below = " " * len(lead)
    return fill(
        text,
        width,
        initial_indent=lead,
        subsequent_indent=below,
        break_on_hyphens=False,
        break_long_words=False,
    )


def json_line(value: object, default: Callable[[object], object] = str) -> str:
    r"""Strict JSON on one line, safe on a terminal too.

    NaN and infinity are ``null``. Characters that a terminal would obey are ``\uNNNN``, which every
    reader turns back into the character; lone surrogates are text as of ``well_formed``.

    Args:
        value: what ``json.dumps`` takes.
        default: makes something that it takes of anything else.
    """
    try:
        text = _dumps(value, default)
    except ValueError:
        text = _dumps(_finite(value), default)
    plain = text.isascii() and "\x7f" not in text
    return text if plain else _NOT_IN_JSON.sub(_json_escape, text)


def csv_text(text: str) -> str:
    """A text for a field of CSV: visible, so that a row is a line, and no formula in a spreadsheet.

    A text that begins like a formula gets an apostrophe in front. Numbers are not texts.
    """
    shown = visible(text)
    return f"'{shown}" if shown.lstrip(" ").startswith(_FORMULA) else shown


def html_text(text: str) -> str:
    """A text between the tags or in a quoted attribute of a page."""
    from html import escape  # noqa: PLC0415  its table of entities is for pages only

    return escape(visible(text))


def html_json(value: object) -> str:
    """JSON inside ``<script>``: no text in it can end the element or begin a comment."""
    text = json_line(value)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _wcwidth() -> Callable[[str], int]:
    """Imported when needed: names are ASCII nearly always."""
    from wcwidth import wcwidth  # noqa: PLC0415

    return wcwidth


def _seen(text: str) -> Iterator[str]:
    measure = _wcwidth()
    marks = _MARKS  # at the beginning there is no letter that one could be on
    for character in text:
        if not character.isprintable() or _HIDDEN.match(character):
            marks = 0
            yield _escaped(character)
            continue
        width = measure(character)
        marks = marks + 1 if width == 0 else 0
        yield character if width >= 0 and marks <= _MARKS else _escaped(character)


def _escaped(character: str) -> str:
    number = ord(character)
    if number in _BYTES:
        return f"\\x{number - _BYTE_AT:02x}"
    if number < _ASCII:
        return _SHORT.get(character) or f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < _BMP else f"\\U{number:08x}"


def _dumps(value: object, default: Callable[[object], object]) -> str:
    return json.dumps(
        value, ensure_ascii=False, separators=(",", ":"), default=default, allow_nan=False
    )


def _finite(value: object) -> object:
    """The same without numbers that JSON does not have."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(part) for part in value]
    return value


def _json_escape(found: re.Match[str]) -> str:
    character = found[0]
    if _SURROGATE.match(character):
        return "\\" + _escaped(character)
    return json.dumps(character)[1:-1]
