# SPDX-License-Identifier: Apache-2.0
"""A wall around code of others that decompresses: it may take so much more memory, and no more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_STATUS = Path("/proc/self/status")
_KIB = 1024


@contextmanager
def walled(more: int) -> Iterator[None]:
    """Within it an allocation beyond ``more`` bytes on top of what is held now fails.

    RLIMIT_DATA of this process (getrlimit(2), since Linux 4.7 with private mappings): for code that
    runs in one thread. Without /proc there is no wall.
    """
    held = _held()
    if held is None:
        yield
        return
    import resource  # noqa: PLC0415 (not where there is no /proc)

    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [one for one in (soft, hard) if one != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min([held + more, *limits]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _held() -> int | None:
    """Bytes that count against the limit now (``VmData`` of proc_pid_status(5))."""
    with suppress(OSError, ValueError, IndexError):
        for line in _STATUS.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) * _KIB
    return None
