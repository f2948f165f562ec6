# SPDX-License-Identifier: Apache-2.0
"""The short-lived child that compiles and attaches.

The only module that imports BCC: LLVM and its 100 MB live and die here. It is started before the
parent knows what to load, imports BCC meanwhile, then takes one request from its socket, answers
with one line of JSON and the descriptors (maps, programs, attachments) and exits. What the kernel
holds then hangs on the parent's descriptors alone.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from tracetw.kernel import bpf
from tracetw.kernel.layout import CAST_CALL
from tracetw.kernel.stubs import write_stubs

__all__ = ["main"]


@contextlib.contextmanager
def captured_stderr() -> Iterator[Path]:
    """What the compiler and the verifier write to descriptor 2 goes to a file meanwhile."""
    with tempfile.NamedTemporaryFile() as file:
        saved = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield Path(file.name)
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def load(bcc: ModuleType, request: Mapping[str, Any]) -> tuple[list[str], list[int], Any]:
    """Compile, load and attach: names and descriptors, and the object that owns them."""
    module = bcc.BPF(text=request["source"], cflags=request["cflags"])
    names, descriptors = [], []
    for name in request["maps"]:
        names.append(f"map:{name}")
        descriptors.append(module[name].map_fd)
    programs = []
    for program, event in request["hooks"]:
        code = bpf.resolve_kfunc(
            module.dump_func(program.encode()), CAST_CALL, request["cast_function"]
        )
        programs.append((program, event, bpf.load(program, code)))
    for program, event, fd in programs:
        names += [f"program:{program}", f"link:{program}"]
        descriptors += [fd, bpf.attach(fd, event)]
    return names, descriptors, module


def attempt(bcc: ModuleType, request: Mapping[str, Any]) -> tuple[dict[str, Any], list[int], Any]:
    """Load with atomics where the verifier takes them (since v5.12), else without."""
    failure = ""
    for extra in (["-DHAVE_CMPXCHG"], []):
        with captured_stderr() as said:
            try:
                changed = {**request, "cflags": [*request["cflags"], *extra]}
                names, descriptors, module = load(bcc, changed)
            except Exception as error:  # noqa: BLE001  BCC raises plain Exception
                failure = f"{error}\n{said.read_text(errors='replace')}"
            else:
                return {"names": names}, descriptors, module
    return {"error": failure}, [], None


def main(fd: int) -> None:
    """Serve one request on the socket ``fd``."""
    # BCC looks for kernel headers when it is imported and when it compiles.
    with socket.socket(fileno=fd) as channel, tempfile.TemporaryDirectory() as folder:
        answer: dict[str, Any]
        descriptors: list[int] = []
        module = None
        try:
            write_stubs(Path(folder))
            os.environ["BCC_KERNEL_SOURCE"] = folder
            import bcc  # noqa: PLC0415  the reason for this process

            with channel.makefile("rb") as stream:
                request = json.loads(stream.readline())
            answer, descriptors, module = attempt(bcc, request)
        except Exception:  # noqa: BLE001  the parent reports it
            answer = {"error": traceback.format_exc()}
        text = json.dumps(answer).encode() + b"\n"
        if descriptors:
            socket.send_fds(channel, [text], descriptors)
        else:
            channel.sendall(text)
        channel.shutdown(socket.SHUT_WR)
        del module


if __name__ == "__main__":
    main(int(sys.argv[1]))
    # Unloading LLVM takes longer than leaving.
    sys.stdout.flush()
    os._exit(0)
