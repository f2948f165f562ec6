# SPDX-License-Identifier: Apache-2.0
"""A file that a result goes to: whole or not at all, and never somewhere else."""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from tracetw.errors import BadInput, Failed

_MODE = 0o640
"""Addresses and names are nobody else's."""


@contextmanager
def replaced(name: str) -> Iterator[BinaryIO]:
    """A new file that takes the place of ``name`` when all was written.

    Raises BadInput for a name that is a link, a device or anything but a regular file, and Failed
    when it cannot be written.
    """
    path = Path(name)
    if not path.name or "\0" in name:
        raise BadInput(f"--to {name!r} is no name of a file", "give another")
    with suppress(OSError):
        if not stat.S_ISREG(path.lstat().st_mode):
            raise BadInput(f"--to {name!r} is no regular file", "give another")
    new = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}")
    try:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(new, flags, _MODE), "wb") as out:
            yield out
        new.rename(path)
    except OSError as error:
        raise Failed(f"cannot write {name}: {error.strerror or error}", "give another") from error
    finally:
        with suppress(OSError):
            new.unlink(missing_ok=True)
