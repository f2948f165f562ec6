# SPDX-License-Identifier: Apache-2.0
"""Who carried a TIME_WAIT and why it was closed here: from a recorder that runs, and from a trace of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from tracetw import isolated
from tracetw.host.netns import Netns
from tracetw.lab.polling import eventually, patient

ROOT = Path(__file__).parents[2]

# A server and a client in one program, 60 connections at once: how long each is used and idle.
LOAD = """
import socket, sys, threading, time
use, idle, first, port = float(sys.argv[1]), float(sys.argv[2]), sys.argv[3], int(sys.argv[4])
server = socket.create_server(("127.0.0.1", port), backlog=64)
pairs = []
for _ in range(60):
    client = socket.create_connection(server.getsockname())
    pairs.append((client, server.accept()[0]))
end = time.monotonic() + use
while True:
    for client, served in pairs:
        client.sendall(b"x" * 10); served.recv(10); served.sendall(b"y" * 20); client.recv(20)
    if time.monotonic() >= end:
        break
    time.sleep(0.05)
time.sleep(idle)
for client, served in pairs:
    for each in (served, client) if first == "server" else (client, served):
        each.close()
print("closed", flush=True)
input()
"""


def command(*words: str) -> list[str]:
    return isolated.command("tracetw", *words)


@contextmanager
def load(ns: Netns, *words: object, script: str = LOAD) -> Iterator[subprocess.Popen[str]]:
    enter = ["ip", "netns", "exec", str(ns.name)]
    with subprocess.Popen(
        [*enter, sys.executable, "-c", script, *map(str, words)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def closed(child: subprocess.Popen[str]) -> None:
    assert child.stdout is not None
    assert child.stdout.readline() == "closed\n"


def document(ns: Netns, *words: str) -> dict[str, Any]:
    done = subprocess.run(
        command("timewait", "--netns", str(ns.inode), "-o", "json", *words),
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        timeout=patient(60),
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@contextmanager
def recorder(folder: Path) -> Iterator[None]:
    ready, told = os.pipe()
    with subprocess.Popen(
        command("record", "-o", str(folder), "--ready-fd", str(told)),
        pass_fds=(told,),
        stderr=subprocess.DEVNULL,
        cwd=ROOT,
    ) as process:
        os.close(told)
        with os.fdopen(ready, "rb") as reader:
            assert reader.read(1) == b"1"
        try:
            eventually(lambda: [*folder.rglob("*.tws")], what="the recorder opens its first file")
            yield
        finally:
            process.send_signal(signal.SIGINT)


def test_a_recorder_that_runs_names_them(ns: Netns, tmp_path: Path) -> None:
    folder = tmp_path / "rec"
    with recorder(folder):
        with load(ns, 0, 0, "server", 8080) as child:
            closed(child)
            eventually(
                lambda: document(ns, "--recording", str(folder))["carriers"]["known"] == 60, 5
            )
            found = document(ns, "--recording", str(folder))
            assert found["carriers"]["from"] == str(folder)
            assert found["carriers"]["first_close"] == {"local": 60}
            assert found["carriers"]["closed_by"] == {"app": 60}
            [owner] = found["by_owner"]
            assert (owner["pid"], owner["time_wait"]) == (child.pid, 60)
            assert owner["owner_from"] == "close"
            assert document(ns)["carriers"]["known"] == 60  # found without being told where
        with load(ns, 0, 0, "client", 8081) as child:
            closed(child)
            words = ("--recording", str(folder))
            eventually(lambda: document(ns, *words)["carriers"]["known"] == 120, 5)
            owners = {row["pid"]: row["time_wait"] for row in document(ns, *words)["by_owner"]}
            assert owners[child.pid] == 60  # a client, which no listener could name
    assert str(folder) not in (document(ns)["carriers"]["from"] or "")  # it runs no longer


BINDS = """
import socket
server = socket.create_server(("127.0.0.1", 8090), backlog=64)
for bound in (True, False):
    for number in range(20):
        client = socket.socket()
        if bound:
            client.bind(("127.0.0.1", 40000 + 2 * number))
        client.connect(server.getsockname())
        served = server.accept()[0]
        client.close()
        served.close()
print("closed", flush=True)
input()
"""


CAUSES = {
    8080: ((0, 0, "server"), "short connections without keep-alive"),
    8081: ((0, 1.3, "server"), "idle timeout: closed after 1."),
    8082: ((1.3, 0, "server"), "limit of age: closed after about 1."),
}


def test_why_servers_close_first_and_who_bound(ns: Netns) -> None:
    """A trace of its own tells from durations, idle times and bytes; Ctrl-C ends it early."""
    with ExitStack() as stack:
        watching = stack.enter_context(
            subprocess.Popen(
                command("timewait", "--netns", str(ns.inode), "-o", "json", "--watch", "60"),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=ROOT,
            )
        )
        stack.callback(watching.kill)
        assert watching.stderr is not None
        assert "tracing" in watching.stderr.readline()
        loads = [stack.enter_context(load(ns, *words, port)) for port, (words, _) in CAUSES.items()]
        for child in (*loads, stack.enter_context(load(ns, script=BINDS))):
            closed(child)
        watching.send_signal(signal.SIGINT)
        found = json.loads(watching.communicate(timeout=patient(30))[0])
    assert found["carriers"]["from"] == "a trace before this"
    assert found["carriers"]["known"] == 220
    # bind() took ports of the parity that connect() prefers: only a record tells.
    ways = {
        row["port_chosen_by"]: row
        for row in found["forecast"]
        if row["time_wait"] + row["reusable"]
    }
    assert ways["bind"]["time_wait"] == 40
    assert ways["connect"]["held"] == 20
    assert ways["connect"]["time_wait"] + ways["connect"]["reusable"] == 20
    texts = [note["text"] for note in found["notes"] if note["code"] == "why"]
    assert len(texts) == 3
    for port, (_, said) in CAUSES.items():
        [text] = [each for each in texts if f"port {port} " in each]
        assert said in text
