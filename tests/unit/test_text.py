# SPDX-License-Identifier: Apache-2.0
"""Text from elsewhere, made safe for each kind of output: what must hold for any text."""

from __future__ import annotations

import json
import re
import struct

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.hostile_names import HOSTILE, assert_people_can_read, strict
from tracetw.text import (
    clip,
    columns,
    csv_text,
    decoded,
    html_json,
    html_text,
    json_line,
    padded,
    spellings,
    visible,
    visible_lines,
    well_formed,
)

ANY = st.text(st.characters(codec=None, categories=None), max_size=40)
"""Every code point, surrogates too."""


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"plain-name_1.2/3:4", "plain-name_1.2/3:4"),
        (b"\x1b[31m\r\n\t\0\x7f", r"\x1b[31m\r\n\t\x00\x7f"),
        (b"a\xffb", r"a\xffb"),
        (b"\xed\xa0\x80", r"\xed\xa0\x80"),
        (b"\xc0\xaf", r"\xc0\xaf"),
        (b"system-serial\\x2dgetty.slice", "system-serial\\x2dgetty.slice"),
        ("c1\x9b".encode(), r"c1\u009b"),
        ("\u202e\u2066\u200e\u061c".encode(), r"\u202e\u2066\u200e\u061c"),
        ("\u200b\u2028\ufeff\u00ad".encode(), r"\u200b\u2028\ufeff\u00ad"),
        ("\U000e0041".encode(), r"\U000e0041"),
        ("é中😀".encode(), "é中😀"),
        ("e\u0301\u0323\u0301".encode(), "e\u0301\u0323\\u0301"),
        ("\u0301a".encode(), "\\u0301a"),
    ],
)
def test_what_people_see_of_bytes(raw: bytes, text: str) -> None:
    assert visible(decoded(raw)) == text


def test_one_text_for_the_same_bytes_wherever_they_come_from() -> None:
    for raw in HOSTILE:
        argument = raw.decode("utf-8", "surrogateescape")  # as os.fsdecode() has file names
        assert well_formed(argument) == decoded(raw)
        assert visible(argument) == visible(decoded(raw))
        assert json.loads(json_line(argument)) == json.loads(json_line(decoded(raw)))
        # As a recorder before this one wrote it.
        again = json.loads(json.dumps(argument))
        assert well_formed(again) == decoded(raw)


@given(ANY)
@example("\ud800\udc00")
def test_people_can_read_anything(text: str) -> None:
    assert_people_can_read(visible(text))
    assert "\n" not in visible(text)
    visible(text).encode()
    assert visible_lines(text).count("\n") == text.count("\n")


@given(ANY, st.integers(1, 60))
def test_what_is_clipped_fits(text: str, width: int) -> None:
    short = clip(visible(text), width)
    assert columns(short) <= width
    assert columns(padded(short, width)) == width
    assert short == visible(text) or short.endswith("…")


@given(st.recursive(ANY | st.floats() | st.integers() | st.none(), st.lists, max_leaves=5))
def test_json_is_strict_and_shows_nothing_raw(value: object) -> None:
    line = json_line({"a": value})
    line.encode()
    assert not re.search(
        "[\0-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff]", line
    )
    json.loads(line, parse_constant=pytest.fail)


@given(st.text())
def test_json_gives_the_text_back(text: str) -> None:
    assert json.loads(json_line(text)) == text
    assert json.loads(html_json(text)) == text


def test_no_number_that_json_does_not_have() -> None:
    (signalling,) = struct.unpack("<d", b"\x01\0\0\0\0\0\xf4\x7f")
    document = {"a": [float("nan"), float("inf"), {"b": -float("inf")}, signalling, 1.5], "c": (1,)}
    assert json_line(document) == '{"a":[null,null,{"b":null},null,1.5],"c":[1]}'


@given(ANY)
def test_a_field_of_csv_is_no_formula_and_one_line(text: str) -> None:
    field = csv_text(text)
    assert not field.lstrip().startswith(("=", "+", "-", "@", "\t", "\r"))
    assert len(field.splitlines()) <= 1
    assert_people_can_read(field)


@given(ANY)
@example("</script><!--<script>")
def test_nothing_ends_the_element_of_a_page(text: str) -> None:
    assert not set("<>&\u2028\u2029") & set(html_json({text: [text]}))
    assert not set("<>\"'") & set(html_text(text))


def test_a_filter_takes_a_name_as_it_is_printed() -> None:
    assert spellings(b"nginx") == ("nginx",)
    assert spellings(b"a\xff") == (r"a\xff",)
    assert spellings(b"a\x1b") == ("a\x1b", r"a\x1b")


@pytest.mark.parametrize("raw", HOSTILE, ids=repr)
def test_the_list_of_hostile_names(raw: bytes) -> None:
    text = decoded(raw)
    assert_people_can_read(visible(text))
    assert strict(json_line(text)) == text
