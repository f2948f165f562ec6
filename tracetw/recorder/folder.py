# SPDX-License-Identifier: Apache-2.0
"""Folders that are ours, held open: no link in them is followed, nothing in them is overwritten.

Root writes here what it learned about everybody's connections. Whoever else can write to a folder
on the way could put links there. So a folder is opened once, one name after the other, and then used
by its descriptor: it stays the same folder, whatever becomes of its name.
"""

from __future__ import annotations

import errno
import fcntl
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tracetw.closing import Closing

FILE_MODE = 0o640
FOLDER_MODE = 0o750
"""At most; the umask takes away more. Recordings name addresses, users and programs."""

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_STEP = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LINK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_LINKS = 40  # as path_lookup(9) allows


class NotOurs(OSError):
    """A folder that somebody else could change, or a link in the place of one."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(errno.EPERM, what)
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Folder(Closing):
    """An open folder.

    Attributes:
        fd: its descriptor.
        shown: its path as the user knows it, for messages alone.

    Methods raise OSError, NotOurs among them. Names are those of entries, without a slash.
    """

    fd: int
    shown: Path

    @classmethod
    def reach(cls, path: Path) -> Folder:
        """The folder at a path; folders that are not there are made.

        A link on the way is followed if root or this user made it.
        """
        at = os.open("/" if path.is_absolute() else ".", _STEP)
        names = [*reversed(path.parts[1:] if path.is_absolute() else path.parts)]
        links = 0
        try:
            while names:
                name = names.pop()
                target = _link_target(at, name, path)
                if target is None:
                    following = _step(at, name)
                else:
                    links += 1
                    if links > _LINKS:
                        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
                    names += reversed([part for part in Path(target).parts if part != "/"])
                    following = os.open("/" if target.startswith("/") else ".", _STEP, dir_fd=at)
                os.close(at)
                at = following
            return cls(_checked(os.open(".", _DIRECTORY, dir_fd=at), path), path)
        finally:
            os.close(at)

    def enter(self, *names: str, make: bool = False) -> Folder:
        """A folder in it, one name below the other; made if it is not there and ``make``."""
        folder = Folder(os.dup(self.fd), self.shown)
        for name in names:
            shown = folder.shown / name
            try:
                if make:
                    with suppress(FileExistsError):
                        os.mkdir(name, FOLDER_MODE, dir_fd=folder.fd)
                below = os.open(name, _DIRECTORY, dir_fd=folder.fd)
            except NotADirectoryError:
                raise NotOurs(
                    f"{shown} is a link or a file, where tracetw makes a folder",
                    "move it away and start again",
                ) from None
            finally:
                folder.close()
            folder = Folder(_checked(below, shown), shown)
        return folder

    def files(self) -> Iterator[tuple[str, os.stat_result]]:
        """Its regular files. Links, pipes and the like are not ours."""
        for name in self._names():
            status = self.status(name)
            if status is not None and stat.S_ISREG(status.st_mode):
                yield name, status

    def folders(self) -> list[str]:
        """Names of its folders, and of links to some: :meth:`enter` refuses those."""
        found = []
        for name in self._names():
            status = self.status(name)
            if status is not None and (
                stat.S_ISDIR(status.st_mode) or stat.S_ISLNK(status.st_mode)
            ):
                found.append(name)
        return found

    def status(self, name: str) -> os.stat_result | None:
        """Of an entry itself, not of what a link leads to; None when it is not there."""
        try:
            return os.stat(name, dir_fd=self.fd, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def create(self, name: str) -> int:
        """Descriptor of a new file, for reading and writing. There must be nothing of that name."""
        return os.open(name, _NEW, FILE_MODE, dir_fd=self.fd)

    def replace(self, name: str) -> int:
        """As :meth:`create`, in place of what is there."""
        self.unlink(name)
        return self.create(name)

    def read(self, name: str) -> BinaryIO:
        """Open a regular file. Raises OSError for anything else, without waiting for a pipe."""
        file = os.fdopen(os.open(name, _READ, dir_fd=self.fd), "rb")
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise OSError(errno.EINVAL, f"{self.shown / name} is no regular file")
        return file

    def path(self, name: str) -> Path:
        """A path by which readers find an entry: it leads to this folder, whatever its name is now."""
        return Path(f"/proc/self/fd/{self.fd}", name)

    def unlink(self, name: str) -> None:
        """Remove a file, or a link itself, if it is there."""
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.fd)

    def rename(self, name: str, new: str) -> None:
        """In place of what is there."""
        os.rename(name, new, src_dir_fd=self.fd, dst_dir_fd=self.fd)

    def link(self, name: str, folder: Folder, new: str) -> None:
        """One more name for a file. Raises FileExistsError."""
        os.link(name, new, src_dir_fd=self.fd, dst_dir_fd=folder.fd, follow_symlinks=False)

    def remove(self, name: str) -> None:
        """Remove a folder in it if it is empty."""
        with suppress(OSError):
            os.rmdir(name, dir_fd=self.fd)

    def sync(self) -> None:
        """What was created, renamed or removed in it survives a power cut from here on."""
        os.fsync(self.fd)

    def lock(self) -> bool:
        """Keep others from working in it, until this and every inherited descriptor is closed.

        False when somebody does.
        """
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def free_bytes(self) -> int:
        """Room on its disk."""
        status = os.fstatvfs(self.fd)
        return status.f_bavail * status.f_frsize

    def close(self) -> None:
        """Let go of it."""
        os.close(self.fd)

    def _names(self) -> list[str]:
        with os.scandir(self.fd) as entries:
            return sorted(entry.name for entry in entries)


def _link_target(at: int, name: str, path: Path) -> str | None:
    """Where a link leads; None for anything else. The descriptor is of the link that was checked."""
    try:
        link = os.open(name, _LINK, dir_fd=at)
    except FileNotFoundError:
        return None
    try:
        status = os.fstat(link)
        if not stat.S_ISLNK(status.st_mode):
            return None
        if not _trusted(status):
            raise NotOurs(
                f"{name!r} in the path {path} is a link that {_user(status.st_uid)} made",
                "give the folder that it leads to, if that is the one you want",
            )
        return os.readlink("", dir_fd=link)
    finally:
        os.close(link)


def _step(at: int, name: str) -> int:
    """One folder further, which is made if it is not there."""
    try:
        return os.open(name, _STEP, dir_fd=at)
    except FileNotFoundError:
        with suppress(FileExistsError):
            os.mkdir(name, FOLDER_MODE, dir_fd=at)
        return os.open(name, _STEP, dir_fd=at)


def _checked(fd: int, shown: Path) -> int:
    """The descriptor of a folder if nobody else can write there; otherwise it is closed."""
    status = os.fstat(fd)
    if _trusted(status) and not status.st_mode & _OTHERS:
        return fd
    os.close(fd)
    if not _trusted(status):
        raise NotOurs(
            f"{shown} belongs to {_user(status.st_uid)}, who could put links there",
            f"give another folder, or first: chown {os.geteuid()} {shown}",
        )
    who = "everybody" if status.st_mode & stat.S_IWOTH else "its group"
    raise NotOurs(
        f"{shown} can be written by {who}, who could put links there",
        f"give another folder, or first: chmod go-w {shown}",
    )


def _trusted(status: os.stat_result) -> bool:
    return status.st_uid in {0, os.geteuid()}


def _user(uid: int) -> str:
    try:
        return f"{pwd.getpwuid(uid).pw_name} (uid {uid})"
    except KeyError:
        return f"uid {uid}"
