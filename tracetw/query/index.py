# SPDX-License-Identifier: Apache-2.0
"""Which cached files belong to which paths, so that a second query does not open the recordings.

Looking through a recording checks every byte of it; that its files have the same names, sizes and
times as when it was judged is known at once.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from tracetw.query.cache import FOLDER, FOLDER_MODE, cached, folder_of_user, rules
from tracetw.recording.reader import SUFFIX, open_recordings
from tracetw.sink.private import write_private

__all__ = ["judged_files"]


def judged_files(paths: Sequence[str]) -> list[Mapping[str, Path]]:
    """The Parquet file of each table, for each recording in ``paths``; made if there is none.

    Raises as ``open_recordings`` and ``cached``.
    """
    state = _state(paths)
    whose = hashlib.sha256(os.fsencode("\n".join(str(Path(path).resolve()) for path in paths)))
    name = f"index-{whose.hexdigest()[:16]}.json"
    first = Path(paths[0]).resolve()
    places = [(first if first.is_dir() else first.parent) / FOLDER, folder_of_user()]
    for folder in places:
        known = _read(folder / name, state)
        if known is not None:
            return known
    files = [cached(recording) for recording in open_recordings(paths)]
    texts = [{table: str(file) for table, file in each.items()} for each in files]
    for folder in places:
        with suppress(OSError):
            folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            text = json.dumps({"state": state, "files": texts})
            write_private(folder / name, text.encode())
            break
    return [*files]


def _read(index: Path, state: str) -> list[Mapping[str, Path]] | None:
    """What an index says, if it is of this state and its files are there."""
    try:
        known = json.loads(index.read_text(encoding="utf-8"))
        files = [{table: Path(file) for table, file in each.items()} for each in known["files"]]
        if known["state"] != state:
            return None
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
    return [*files] if all(file.exists() for each in files for file in each.values()) else None


def _state(paths: Iterable[str]) -> str:
    """Names, sizes and times of all files, and the rules."""
    digest = hashlib.sha256(rules().encode())
    for path in paths:
        for file in sorted(_files(Path(path))):
            with suppress(OSError):
                status = file.stat()
                digest.update(os.fsencode(f"{file} {status.st_size} {status.st_mtime_ns}\n"))
    return digest.hexdigest()


def _files(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (file for file in path.rglob("*") if FOLDER not in file.parts and file.is_file())
    else:
        yield from path.parent.glob(f"{path.name.removesuffix(SUFFIX)}.*")
