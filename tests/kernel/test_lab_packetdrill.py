# SPDX-License-Identifier: Apache-2.0
"""``tracetw lab packetdrill``, with Python in the place of packetdrill: it, too, plays a file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tracetw.lab.play.child import COMMAND, environment
from tracetw.lab.polling import patient

CONNECTION = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(listener.getsockname())
accepted = listener.accept()[0]
client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1, 0, 0, 0, 0, 0, 0, 0]))
client.close()
accepted.close()
print("said")
"""


def packetdrill(
    *arguments: str | Path, search: str = os.environ["PATH"]
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "lab", "packetdrill", *arguments],
        capture_output=True,
        text=True,
        timeout=patient(60),
        env=environment() | {"PATH": search},
        check=False,
    )


def script(folder: Path, text: str) -> Path:
    path = folder / "connection.pkt"
    path.write_text(text)
    return path


def test_tells_what_ended(tmp_path: Path) -> None:
    played = script(tmp_path, CONNECTION)
    done = packetdrill("--packetdrill", sys.executable, played)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"PASS {played} (exit 0)\n  packetdrill: said\n")
    assert "abort-linger  127.0.0.1:" in done.stdout
    assert "peer-reset  127.0.0.1:" in done.stdout


def test_tells_as_json_what_failed(tmp_path: Path) -> None:
    played = script(tmp_path, CONNECTION + "sys.exit(3)")
    options = ("--packetdrill", sys.executable, "-o", "json")
    done = packetdrill(*options, played, played)
    assert done.returncode == 1
    for text in done.stdout.splitlines():
        told = json.loads(text)
        assert (told["status"], told["output"]) == (3, "said")
        assert sorted(line["verdict"] for line in told["lines"]) == ["abort-linger", "peer-reset"]
    assert len(done.stdout.splitlines()) == 2


def test_tells_that_nothing_ended(tmp_path: Path) -> None:
    done = packetdrill("--packetdrill", sys.executable, script(tmp_path, "raise SystemExit(1)"))
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.startswith("FAIL ")
    assert "no connection ended" in done.stdout


def test_says_what_is_missing(tmp_path: Path) -> None:
    played = script(tmp_path, CONNECTION)
    absent = packetdrill(played, search=str(tmp_path))
    assert absent.returncode == 3
    assert "packetdrill is not on PATH" in absent.stderr
    wrong = packetdrill("--packetdrill", tmp_path / "none", played)
    assert wrong.returncode == 2
    assert "no such program" in wrong.stderr
    assert packetdrill().returncode == 2
    assert packetdrill(tmp_path / "none").returncode == 2
