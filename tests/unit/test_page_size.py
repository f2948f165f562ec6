# SPDX-License-Identifier: Apache-2.0
"""Kernels whose pages are not of 4 KiB, as many of arm64: sizes of rings are whole numbers of them."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest

from tracetw.kernel.load.cache import Cache
from tracetw.kernel.load.image import Image
from tracetw.kernel.load.stubs import write_stubs


def test_the_compiler_has_the_page_size_of_the_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mmap, "PAGESIZE", 1 << 14)
    write_stubs(tmp_path)
    (header,) = tmp_path.glob("arch/*/include/asm/page.h")
    assert header.read_text() == "#define PAGE_SIZE 16384\n"


def test_an_image_for_other_pages_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(tmp_path)
    cache.put("source", [], Image((), {}))
    assert cache.get("source", []) is not None
    monkeypatch.setattr(mmap, "PAGESIZE", 1 << 14)
    assert cache.get("source", []) is None
