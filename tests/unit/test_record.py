# SPDX-License-Identifier: Apache-2.0
"""The generated layout is what the compiler makes of the header."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tracetw.event import fields, record

ROOT = Path(__file__).resolve().parents[2]
RING_HEADER = 8


def without_clang() -> bool:
    """On a laptop the comparison may be left out, in CI never."""
    return shutil.which("clang") is None and os.environ.get("CI") != "true"


@pytest.mark.skipif(without_clang(), reason="needs clang")
def test_the_committed_file_is_what_the_header_says() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "gen-record"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


CACHE_LINE = 64


def test_a_close_and_its_header_fill_cache_lines() -> None:
    assert record.CLOSE.itemsize == 312
    assert (record.CLOSE.itemsize + RING_HEADER) % CACHE_LINE == 0


@pytest.mark.parametrize("dtype", [record.CLOSE, record.EVENT], ids=["close", "event"])
def test_a_record_has_whole_words(dtype: np.dtype[np.void]) -> None:
    """As the ring buffer rounds them up to."""
    assert dtype.itemsize % RING_HEADER == 0


def test_the_sizes_are_told() -> None:
    assert record.CLOSE.itemsize == record.CLOSE_SIZE
    assert record.EVENT.itemsize == record.EVENT_SIZE


@pytest.mark.parametrize("dtype", [record.CLOSE, record.EVENT], ids=["close", "event"])
def test_no_byte_of_a_record_is_unnamed(dtype: np.dtype[np.void]) -> None:
    end = 0
    assert dtype.names is not None
    assert dtype.fields is not None
    for name in dtype.names:
        kind, offset = dtype.fields[name][:2]
        assert offset == end, name
        end = offset + kind.itemsize
    assert end == dtype.itemsize


@pytest.mark.parametrize("dtype", [record.CLOSE, record.EVENT], ids=["close", "event"])
def test_every_field_is_aligned_to_its_element(dtype: np.dtype[np.void]) -> None:
    assert dtype.fields is not None
    for name, (kind, offset, *_) in dtype.fields.items():
        element = 1 if name == "comm" else kind.base.itemsize
        assert offset % element == 0, name


def test_flags_are_different_single_bits_of_their_field() -> None:
    for prefix, bits in (("F_", 32), ("T_", 8), ("BIND_", 8), ("SHUT_", 8)):
        flags = [value for name, value in vars(record).items() if name.startswith(prefix)]
        assert len(flags) == len(set(flags))
        assert all(flag.bit_count() == 1 for flag in flags)
        assert max(flags) < 1 << bits


def test_no_flag_of_the_header_is_left_out() -> None:
    header = (ROOT / "bpf" / "record.h").read_text()
    prefixes = ("F_", "T_", "BIND_", "SHUT_")
    defined = set(re.findall(r"^#define ((?:F|T|BIND|SHUT)_\w+)", header, re.MULTILINE))
    assert defined == {name for name in vars(record) if name.startswith(prefixes)}


def test_the_longest_path_fits_its_word_and_its_times() -> None:
    path = 0
    for state in range(1, record.PATH_MAX + 1):
        path = path << 4 | state
    assert path < 1 << 32
    assert fields.path_states(path) == tuple(range(1, record.PATH_MAX + 1))
    assert record.CLOSE["at"].shape == (record.PATH_MAX,)
