# SPDX-License-Identifier: Apache-2.0
"""Names that try to be more than names, and what an output may look like that holds them."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

HOSTILE: tuple[bytes, ...] = (
    b"\x1b[2J\x1b[31mred",
    b"\x1b]0;title\x07",
    b"cr\rover",
    b"two\nlines",
    b"tab\tbed",
    b"nul\0inside",
    b"\x01\x02\x7fdel",
    "c1\x9b31m\x85".encode(),
    "rtl\u202egnp.exe".encode(),
    "\u2066\u2067\u2069".encode(),
    "\u200e\u200f\u061c".encode(),
    "\u200b\u200d\ufeff\u2060".encode(),
    "\u2028\u2029".encode(),
    "\u00ad\u034f\u3164".encode(),
    "e\u0301\u0301\u0301\u0301".encode(),
    "\u0301first".encode(),
    "\U000e0041\U000e0042".encode(),
    "\ufe0f\u2764\ufe0f".encode(),
    "\u2800\u00a0".encode(),
    "中文中文中".encode(),
    "\U0001f600".encode(),
    b"\xff\xfe",
    b"\xc0\xaf\xe0\x80\xaf",
    b"\xed\xa0\x80",
    b"cut\xe4\xb8",
    b"=cmd|'/C x'!A0",
    b"+1+1",
    b"-2+3",
    b"@SUM(1)",
    b"\t=1+1",
    "\uff1d1+1".encode(),
    b'"quoted", comma',
    b"'; DROP --",
    b"</script><b>",
    b"<!--<script>",
    b"&amp;&#0;",
    b"@@script@@",
    b"%s%d%n{0}{x}",
    b"\\x1b\\u202e\\",
    b"|`*_[a](b)",
    b"1e999",
    b"nan",
    b"007",
    b"-",
    b"",
)


_OBEYED = ("Cc", "Cf", "Cs", "Zl", "Zp")
_HIDDEN = "\u034f\u115f\u1160\u3164\uffa0\u2800\ufe0e\ufe0f"
_MARKS = ("Mn", "Me")


def assert_people_can_read(text: str) -> None:
    """Nothing in it moves the cursor, reorders, hides, or is written over what stands beside it."""
    for line in text.split("\n"):
        for at, character in enumerate(line):
            seen = character.isprintable() and character not in _HIDDEN
            assert seen, f"U+{ord(character):04X} in {line!r}"
            before = line[max(at - 3, 0) : at + 1]
            marks = [unicodedata.category(one) in _MARKS for one in before]
            assert marks[1:] != [True] * 3, f"accents on accents in {line!r}"
            assert at or not marks[0], f"an accent on nothing in {line!r}"


def strict(line: str) -> Any:
    """JSON without NaN and infinity, with nothing raw in it that a terminal obeys."""
    for character in line:
        assert unicodedata.category(character) not in _OBEYED, f"U+{ord(character):04X} in {line!r}"

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    value = json.loads(line, parse_constant=refuse)
    json.dumps(value, ensure_ascii=False).encode()  # no lone surrogates
    return value
