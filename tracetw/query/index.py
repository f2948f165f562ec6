# SPDX-License-Identifier: Apache-2.0
"""Which kept files belong to which paths, so that a second query does not open the recordings.

Looking through a recording checks every byte of it; that its files are the same and in the same state
as when it was judged is known at once.
"""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from tracetw.errors import BadInput
from tracetw.query.cache import cached, files_of, identity
from tracetw.query.place import tidy
from tracetw.recording.files import MOST_FILES, TooMany, below
from tracetw.recording.reader import SUFFIX, open_recordings
from tracetw.sink.private import write_private

_PARQUET = ".parquet"
_INDEX_BYTES = 4 << 20


class IndexedFiles(Struct, frozen=True):
    """What is known of some paths.

    Attributes:
        state: of their files.
        keys: of each recording.
        damage: where the recordings are not whole, in lines.
    """

    state: str
    keys: list[Annotated[str, Meta(pattern=r"\A[0-9a-f]{64}\Z")]]
    damage: list[str]


def judged_files(
    paths: Sequence[str], folder: Path
) -> tuple[list[Mapping[str, Path]], Sequence[str]]:
    """The Parquet file of each table, for each recording in ``paths``, and what is damaged.

    They are made in ``folder``, which is ours alone, if there are none. Raises as
    ``open_recordings`` and ``cached``.
    """
    state = identity(_files(paths))
    whose = hashlib.sha256(b"\0".join(os.fsencode(Path(path).resolve()) for path in paths))
    index = folder / f"{whose.hexdigest()}.json"
    known = _read(index, state, folder)
    if known is None:
        recordings = open_recordings(paths)
        keys = [cached(recording, folder) for recording in recordings]
        damage = [str(damage) for recording in recordings for damage in recording.damage]
        known = IndexedFiles(state, keys, damage)
        with suppress(OSError):
            write_private(index, msgspec.json.encode(known))
        tidy(folder, {*keys, index.name})
    for name in (index.name, *known.keys):
        with suppress(OSError):
            os.utime(folder / name)  # used now
    return [files_of(folder, key) for key in known.keys], known.damage


def _read(index: Path, state: str, folder: Path) -> IndexedFiles | None:
    """What an index says, if it is of this state and its files are there."""
    try:
        with index.open("rb") as file:
            known = msgspec.json.decode(file.read(_INDEX_BYTES), type=IndexedFiles)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    files = [file for key in known.keys for file in files_of(folder, key).values()]
    return known if known.state == state and all(file.exists() for file in files) else None


def _files(paths: Sequence[str]) -> Iterator[Path]:
    for path in map(Path, paths):
        try:
            if path.is_dir():
                # A segment has two Parquet files at most.
                yield from below(path, (SUFFIX, _PARQUET), most=3 * MOST_FILES)[0]
            else:
                yield path
                stem = glob.escape(path.name.removesuffix(SUFFIX))
                yield from sorted(path.resolve().parent.glob(f"{stem}.*{_PARQUET}"))
        except TooMany as error:
            raise BadInput(f"{path}: {error}", "give a smaller part of it") from error
        except OSError as error:
            raise BadInput(f"cannot read {path}: {error.strerror}") from error
