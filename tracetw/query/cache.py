# SPDX-License-Identifier: Apache-2.0
"""Judged recordings as Parquet files in a folder of ours, made once for each state and set of rules."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tracetw.errors import Failed
from tracetw.event.record import CLOSE, EVENT
from tracetw.query.columns import closes_table, events_table
from tracetw.query.names import listeners_tables
from tracetw.query.samples import counters_tables, losses_tables, sysctls_tables
from tracetw.recording.reader import Recording
from tracetw.replay.names import known_throughout
from tracetw.replay.source import context_of, judged
from tracetw.stream.batch import Ends
from tracetw.stream.filter import Filter
from tracetw.stream.stages import Stages

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS = 1 << 16
"""Of a table, which is in memory whole, and of a row group."""
_PACKAGE = Path(__file__).resolve().parents[1]


@lru_cache(maxsize=1)
def rules() -> str:
    """A hash of the program: all of it may decide verdicts and columns."""
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        digest.update(f"{path.relative_to(_PACKAGE)}\n".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


def identity(files: Iterable[Path], besides: str = "") -> str:
    """A hash of which files these are and of their state, and of what else decides the rows.

    Whoever changes a file may set its size and the time of its change back, but not ``st_ctime``.
    """
    digest = hashlib.sha256(f"{rules()} {besides}\n".encode("utf-8", "backslashreplace"))
    for file in files:
        with suppress(OSError):
            status = file.lstat()
            state = (status.st_dev, status.st_ino, status.st_size)
            times = (status.st_mtime_ns, status.st_ctime_ns)
            digest.update(os.fsencode(file) + f"\0{state} {times}\n".encode())
    return digest.hexdigest()


def files_of(folder: Path, key: str) -> Mapping[str, Path]:
    """Where the file of each of ``TABLES`` lies."""
    return {table: folder / key / f"{table}.parquet" for table in TABLES}


def cached(recording: Recording, folder: Path) -> str:
    """Key of the files of a recording in ``folder``, made if they are not there.

    Raises Failed when there is no room, CannotTrace when pyarrow is missing for a recording that
    needs it.
    """
    parts = [segment.path for segment in recording.segments]
    parts += [file for segment in recording.segments for file in segment.sealed_files()]
    # The rows name the host, which depends on the recordings that are read with this one.
    key = identity(parts, recording.header.host)
    if all(file.exists() for file in files_of(folder, key).values()):
        return key
    try:
        with tempfile.TemporaryDirectory(prefix=".new-", dir=folder) as name:
            whole = Path(name) / key
            whole.mkdir(mode=0o700)
            for table, make in TABLES.items():
                _write(whole / f"{table}.parquet", make(recording))
            _keep(whole, folder / key)
    except OSError as error:
        raise Failed(
            f"cannot write the judged recording to {folder}: {error.strerror or error}",
            "make room, or give XDG_CACHE_HOME another folder",
        ) from error
    return key


def _keep(whole: Path, kept: Path) -> None:
    """All files at once; those of another query that was faster are the same."""
    try:
        whole.rename(kept)
    except OSError:
        if not kept.exists():
            raise


def _closes(recording: Recording) -> Iterator[pa.Table]:
    stages = Stages(context_of(recording), Filter())
    known = stages.context.known
    yield closes_table(recording, stages.judge(Ends(np.zeros(0, CLOSE), recording.clock)), known)
    for part in judged(recording, stages):
        for piece in part.parts(_ROWS):
            yield closes_table(recording, piece, known)


def _events(recording: Recording) -> Iterator[pa.Table]:
    known = known_throughout(recording)
    yield events_table(recording, np.zeros(0, EVENT), known)
    for rows in recording.events():
        yield events_table(recording, rows, known)


TABLES: Mapping[str, Callable[[Recording], Iterator[pa.Table]]] = {
    "closes": _closes,
    "events": _events,
    "counters": counters_tables,
    "sysctls": sysctls_tables,
    "losses": losses_tables,
    "listeners": listeners_tables,
}
"""Name of a file to what makes its tables; the first one gives the columns and may be empty."""


def _write(file: Path, tables: Iterator[pa.Table]) -> None:
    import pyarrow.parquet as pq  # noqa: PLC0415 (optional)

    first = next(tables)
    # Of numbers that hardly ever come twice a dictionary takes time and memory and saves nothing.
    texts = [field.name for field in first.schema if not _is_floating(field.type)]
    # The folder is closed to others, and so is each file from its first byte.
    created = os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600)
    with (
        os.fdopen(created, "wb") as out,
        pq.ParquetWriter(out, first.schema, compression="zstd", use_dictionary=texts) as writer,
    ):
        writer.write_table(first)
        for table in tables:
            writer.write_table(table)


def _is_floating(type_: pa.DataType) -> bool:
    from pyarrow import types  # noqa: PLC0415 (optional)

    return bool(types.is_floating(type_) or types.is_struct(type_))
