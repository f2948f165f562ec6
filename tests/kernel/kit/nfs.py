# SPDX-License-Identifier: Apache-2.0
"""The kernel's own NFS, both ends: no program has these sockets, and none of a user's tools is needed."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tracetw.lab.net.host import Host
from tracetw.lab.polling import patient

PORT = 2049
BEGUN = bytes.fromhex("80000064")
"""What tells nfsd of 100 bytes to come (RFC 5531, 11)."""


class Server:
    """nfsd of one host, version 4 alone: it needs neither rpcbind nor lockd."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _write(self, name: str, text: str) -> None:
        self._folder.joinpath(name).write_text(text + "\n")

    def start(self) -> None:
        self._write("versions", "-2 -3 +4 +4.1 +4.2")
        self._write("portlist", f"tcp {PORT}")
        self._write("threads", "1")

    def stop(self) -> None:
        """The kernel closes the listener and every connection, in the context of the caller."""
        self._write("threads", "0")


@contextmanager
def server(host: Host, folder: Path) -> Iterator[Server]:
    """Runs until the end, at the latest. It exports nothing."""
    folder.mkdir()
    host.run("mount", "-t", "nfsd", "nfsd", str(folder))
    made = Server(folder)
    try:
        made.start()
        yield made
    finally:
        made.stop()
        host.run("umount", str(folder))


@contextmanager
def mounting(host: Host, address: str, folder: Path) -> Iterator[None]:
    """A mount(8) that waits for what is exported, and is killed at the end: then the client closes."""
    folder.mkdir()
    options = f"vers=4.2,addr={address},clientaddr=0.0.0.0,proto=tcp"
    command = ["mount", "-i", "-t", "nfs", "-o", options, f"{address}:/", str(folder)]
    process = subprocess.Popen(host.inside(command))
    try:
        yield
    finally:
        process.kill()
        process.wait(patient(30))
