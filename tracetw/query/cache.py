# SPDX-License-Identifier: Apache-2.0
"""Judged recordings as Parquet files beside them, made once for each recording and set of rules."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tracetw.errors import Failed
from tracetw.event.record import CLOSE, EVENT
from tracetw.query.columns import closes_table, events_table
from tracetw.query.samples import counters_table, sysctls_table
from tracetw.recording.reader import Recording
from tracetw.replay.source import context_of, judged
from tracetw.stream.batch import Ends
from tracetw.stream.filter import Filter
from tracetw.stream.stages import Stages

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["FOLDER", "TABLES", "cached", "folder_of_user", "rules"]

TABLES = ("closes", "events", "counters", "sysctls")
FOLDER = ".tracetw-query"
"""Beside a recording."""
_PACKAGE = Path(__file__).resolve().parents[1]
# What decides the columns: how facts are read, judged and shown.
_RULES = ("verdict/*.py", "event/*.py", "query/*.py", "recording/*.py", "replay/*.py")


@lru_cache(maxsize=1)
def rules() -> str:
    """A hash of all that decides verdicts and columns: 16 hex digits."""
    digest = hashlib.sha256()
    for pattern in _RULES:
        for path in sorted(_PACKAGE.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def cached(recording: Recording) -> dict[str, Path]:
    """The Parquet file of each of ``TABLES``, made if there is none for these files and rules.

    Raises Failed when there is no place to write them, CannotTrace when pyarrow is missing for a
    recording that needs it.
    """
    key = _key(recording)
    names = {table: f"{table}-{recording.header.run}-{key}.parquet" for table in TABLES}
    places = [_beside(recording), folder_of_user()]
    for folder in places:
        files = {table: folder / name for table, name in names.items()}
        if all(file.exists() for file in files.values()):
            return files
    for folder in places:
        with suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            return _made(recording, {table: folder / name for table, name in names.items()})
    raise Failed(
        f"cannot write the judged recording to {places[0]} or {places[1]}",
        "make room or give XDG_CACHE_HOME a folder that can be written",
    )


def _key(recording: Recording) -> str:
    """Changes with the rows that can be read and with the rules; not when files are compacted."""
    digest = hashlib.sha256(f"{rules()} {recording.header.host}".encode())
    for segment in recording.segments:
        rows = segment.rows
        digest.update(f"{segment.number} {rows['closes']} {rows['events']}\n".encode())
    return digest.hexdigest()[:16]


def _beside(recording: Recording) -> Path:
    """In the folder that holds ``host=.../hour=.../``, or that of the file."""
    folder = recording.segments[0].path.resolve().parent
    while folder.name.startswith(("hour=", "host=")):
        folder = folder.parent
    return folder / FOLDER


def folder_of_user() -> Path:
    """Where to write when the recording is not ours to write to."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tracetw"


def _made(recording: Recording, files: dict[str, Path]) -> dict[str, Path]:
    """Write all files, then remove those of earlier states of this recording."""
    makers: dict[str, Callable[[Recording], Iterator[pa.Table]]] = {
        "closes": _closes,
        "events": _events,
        "counters": lambda one: iter([counters_table(one)]),
        "sysctls": lambda one: iter([sysctls_table(one)]),
    }
    for table, file in files.items():
        _write(file, makers[table](recording))
    for table, file in files.items():
        for old in file.parent.glob(f"{table}-{recording.header.run}-*.parquet"):
            if old != file:
                old.unlink(missing_ok=True)
    return files


def _closes(recording: Recording) -> Iterator[pa.Table]:
    stages = Stages(context_of(recording), Filter())
    yield closes_table(recording, stages.judge(Ends(np.zeros(0, CLOSE), recording.clock)))
    for part in judged(recording, stages):
        yield closes_table(recording, part)


def _events(recording: Recording) -> Iterator[pa.Table]:
    yield events_table(recording, np.zeros(0, EVENT))
    for rows in recording.events():
        yield events_table(recording, rows)


def _write(file: Path, tables: Iterator[pa.Table]) -> None:
    """Whole or not at all; the first table gives the columns and may be empty."""
    import pyarrow.parquet as pq  # noqa: PLC0415 (optional)

    handle, name = tempfile.mkstemp(prefix=f".{file.stem}-", dir=file.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        first = next(tables)
        with pq.ParquetWriter(temporary, first.schema, compression="zstd") as writer:
            writer.write_table(first)
            for table in tables:
                writer.write_table(table)
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
