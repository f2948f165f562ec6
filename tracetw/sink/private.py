# SPDX-License-Identifier: Apache-2.0
"""Files about connections: whole or not at all, for nobody but their owner from the first byte."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path

PRIVATE = 0o640
"""The mode of a new file, at most."""


def write_private(path: Path, data: bytes) -> None:
    """Write a file that the user named, in place of one that is there.

    A device, a pipe and the link of a trusted user are written to as they are. Raises OSError, and
    then leaves what was there.
    """
    try:
        status = path.lstat()
    except FileNotFoundError:
        _replace(path, data)
        return
    if stat.S_ISREG(status.st_mode) and os.access(path.parent, os.W_OK):
        _replace(path, data)
        return
    if stat.S_ISLNK(status.st_mode) and status.st_uid not in {0, os.geteuid()}:
        raise OSError(errno.EPERM, f"it is a link that uid {status.st_uid} made")
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE), "wb") as file:
        file.write(data)


def _replace(path: Path, data: bytes) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name[:200]}-", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).replace(path)
    except BaseException:
        with suppress(OSError):
            Path(name).unlink()
        raise
