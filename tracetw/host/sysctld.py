# SPDX-License-Identifier: Apache-2.0
"""Who set a sysctl at boot: the file and line of sysctl.d(5), or the kernel's command line.

The files may be anybody's: only regular ones are opened, a bounded part is read, and what they say is text.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import NamedTuple

FOLDERS = ("/etc/sysctl.d", "/run/sysctl.d", "/usr/local/lib/sysctl.d", "/usr/lib/sysctl.d")
"""As systemd-sysctl and ``sysctl --system`` read them: of files with one name only the first folder's counts."""
_LAST = "/etc/sysctl.conf"  # sysctl --system reads it after the folders
_COMMAND_LINE = "/proc/cmdline"
_MOST_FILES, _MOST_BYTES, _MOST_LINES = 500, 1 << 20, 20_000


class Assignment(NamedTuple):
    """One line ``name = value``. ``line`` counts from 1; 0 for the kernel's command line."""

    path: str
    line: int
    value: str

    def matches(self, numbers: tuple[int, ...]) -> bool:
        """Is the value these numbers?"""
        try:
            return tuple(int(word) for word in self.value.split()) == numbers
        except ValueError:
            return False


def assignments(
    names: Iterable[str],
    folders: Iterable[str] = FOLDERS,
    last: str = _LAST,
    command_line: str = _COMMAND_LINE,
) -> dict[str, Assignment]:
    """The last assignment to each of ``names`` (dotted), which is the one that counts at boot.

    Names without one are absent, and so is what cannot be read.
    """
    wanted = frozenset(names)
    found = dict(_of_command_line(command_line, wanted))
    files = _files(folders)
    # Debian and Ubuntu link it into /etc/sysctl.d, where it has its place by name.
    if not any(_same(path, last) for path in files):
        files.append(last)
    for path in files:
        explicit: dict[str, Assignment] = {}
        for name, assignment in _of_file(path):
            if name in wanted:
                explicit[name] = assignment
            elif any(sign in name for sign in "*?["):
                for each in wanted:
                    if fnmatchcase(each, name):
                        explicit.setdefault(each, assignment)
        found.update(explicit)
    return found


def _same(path: str, other: str) -> bool:
    try:
        return os.path.samefile(path, other)
    except OSError:
        return False


def _files(folders: Iterable[str]) -> list[str]:
    by_name: dict[str, str] = {}
    for folder in folders:
        try:
            names = sorted(name for name in os.listdir(folder) if name.endswith(".conf"))
        except OSError:
            continue
        for name in names[:_MOST_FILES]:
            by_name.setdefault(name, os.path.join(folder, name))
    return [by_name[name] for name in sorted(by_name)]


def _of_file(path: str) -> Iterator[tuple[str, Assignment]]:
    for number, line in enumerate(_text(path).split("\n", _MOST_LINES)[:_MOST_LINES], 1):
        name, equals, value = line.strip().partition("=")
        if equals and not name.startswith(("#", ";")):
            yield _dotted(name.strip().removeprefix("-")), Assignment(path, number, value.strip())


def _of_command_line(path: str, wanted: frozenset[str]) -> Iterator[tuple[str, Assignment]]:
    """``sysctl.NAME=VALUE``, since 5.8 (do_sysctl_args)."""
    for word in _text(path).split():
        name, equals, value = word.partition("=")
        if equals and name.startswith(("sysctl.", "sysctl/")):
            dotted = _dotted(name[len("sysctl.") :])
            if dotted in wanted:
                yield dotted, Assignment(path, 0, value)


def _dotted(name: str) -> str:
    return name.replace("/", ".")


def _text(path: str) -> str:
    """The beginning of a regular file; empty for anything else. A fifo does not hold us up."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except (OSError, ValueError):
        return ""
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return ""
        with open(descriptor, "rb", closefd=False) as file:
            return file.read(_MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)
