# SPDX-License-Identifier: Apache-2.0
"""Files of this checkout that are made of others: written, or compared with what would be written."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def parser(program: str, description: str) -> argparse.ArgumentParser:
    """With the option ``--check``."""
    made = argparse.ArgumentParser(prog=program, description=description)
    made.add_argument(
        "--check", action="store_true", help="compare instead of writing; 1 if a file differs"
    )
    return made


def settle(
    program: str, texts: Mapping[Path, str], *, check: bool, among: Iterable[Path] = ()
) -> int:
    """Write files and remove what is ``among`` them no more; or only say which are out of date.

    Args:
        program: of scripts/, which makes them.
        texts: what each file must be.
        check: write nothing; exit status 1 if one differs.
        among: files that are there, each of which must be one of ``texts``.
    """
    there = {path: path.read_text(encoding="utf-8") for path in {*texts, *among} if path.exists()}
    differ = sorted(path for path in {*there, *texts} if there.get(path) != texts.get(path))
    if check and differ:
        names = ", ".join(str(path.relative_to(ROOT)) for path in differ)
        sys.stderr.write(f"{program}: out of date: {names}; run scripts/{program}\n")
        return 1
    for path in differ if not check else ():
        if path in texts:
            path.parent.mkdir(exist_ok=True)
            path.write_text(texts[path], encoding="utf-8")
        else:
            path.unlink()
    return 0
