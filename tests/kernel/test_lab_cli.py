# SPDX-License-Identifier: Apache-2.0
"""``tracetw lab`` as a command: what it says, keeps, and leaves behind."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from threading import Timer

import pytest

from tracetw.lab.net.wire import read
from tracetw.lab.play.child import COMMAND, environment
from tracetw.lab.polling import eventually, patient

NETNS = Path("/run/netns")
TGKILL = {"x86_64": 234, "aarch64": 131}[os.uname().machine]


def lab(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "lab", *arguments],
        capture_output=True,
        text=True,
        timeout=patient(100),
        env=environment(),
        check=False,
    )


def namespaces(pid: int) -> list[str]:
    """Namespaces of the lab that runs as ``pid``: their names have it."""
    return [path.name for path in NETNS.glob(f"lab-{pid}-*")]


def test_list_as_text_and_as_json() -> None:
    text, lines = lab("list").stdout, lab("list", "-o", "json").stdout.splitlines()
    assert max(map(len, text.splitlines())) <= 100
    documents = [json.loads(line) for line in lines]
    assert all(document["name"] in text for document in documents)
    assert all(document["claim"] and document["wire"] for document in documents)


def test_run_tells_the_story(tmp_path: Path) -> None:
    done = lab("run", "four-way-close", "-4", "--pcap", str(tmp_path / "new"))
    assert done.returncode == 0, done.stderr
    assert "PASS four-way-close-v4" in done.stdout
    assert "--- FIN ACK" in done.stdout
    assert "FIN_WAIT1" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert "1 played, 0 failed, 0 skipped" in done.stderr
    (capture,) = (tmp_path / "new").iterdir()
    assert sum("FIN" in segment.flags for segment in read(capture)) == 2


def test_run_as_json_and_repeated() -> None:
    done = lab("run", "linger-0", "unread-nothing", "-4")
    assert (done.returncode, done.stdout) == (2, "")
    done = lab("run", "linger-0", "-4", "--repeat", "2", "-o", "json")
    outcomes = [json.loads(line) for line in done.stdout.splitlines()]
    assert [outcome["round"] for outcome in outcomes] == [1, 2]
    for outcome in outcomes:
        assert outcome["passed"], outcome["problems"]
        assert outcome["lines"]["a"][0]["verdict"] == "abort-linger"
        assert outcome["counters"]["a"]["TCPAbortOnData"] == 1
        assert [s["direction"] for s in outcome["segments"]] == ["A>B", "B>A", "A>B", "A>B"]


def test_keep_leaves_the_namespaces() -> None:
    done = lab("run", "linger-0", "-4", "--keep", "-o", "json")
    kept = json.loads(done.stdout)["namespaces"].values()
    try:
        assert len(kept) == 2
        assert all((NETNS / name).exists() for name in kept)
    finally:
        for name in kept:
            subprocess.run(["ip", "netns", "del", name], check=True)


def _to_process(pid: int, number: int) -> None:
    os.kill(pid, number)


def _to_all(pid: int, number: int) -> None:
    """As a terminal does: whatever the lab has started gets it, too."""
    os.killpg(pid, number)


def _to_thread(pid: int, number: int) -> None:
    """The kernel may give a signal to any thread; then it wakes up none that waits."""
    last = max(int(path.name) for path in Path(f"/proc/{pid}/task").iterdir())
    assert last != pid
    assert ctypes.CDLL(None).syscall(TGKILL, pid, last, number) == 0


WAYS = [
    (_to_process, signal.SIGTERM),
    (_to_all, signal.SIGINT),
    (_to_thread, signal.SIGINT),
    (_to_thread, signal.SIGHUP),
]
WHAT = [["time-wait-expires", "four-way-close"], ["--all"]]
AFTER = [1, 6]
# Where everything takes longer, one of each: none of it is a matter of the kernel.
if patient(1) > 1:
    WAYS, WHAT, AFTER = WAYS[1:3], WHAT[1:], AFTER[1:]


@pytest.mark.parametrize("what", WHAT)
@pytest.mark.parametrize("after", AFTER)
@pytest.mark.parametrize(("send", "number"), WAYS)
def test_interrupted_it_leaves_nothing_behind(
    what: list[str], after: int, send: Callable[[int, int], None], number: int
) -> None:
    with subprocess.Popen(
        [*COMMAND, "lab", "run", *what],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**environment(), "PYTHONFAULTHANDLER": "1"},
        start_new_session=True,
    ) as process:
        eventually(lambda: len(namespaces(process.pid)) >= after)
        send(process.pid, number)
        # One that does not stop says what each of its threads waits for.
        hanging = Timer(patient(10), process.send_signal, [signal.SIGABRT])
        hanging.start()
        _, errors = process.communicate()
        hanging.cancel()
    assert process.returncode == 1, errors
    assert "stopped" in errors
    assert "Traceback" not in errors
    assert "FAIL" not in errors
    assert namespaces(process.pid) == []
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["run"], "--all"),
        (["run", "four-way-closs"], "four-way-close"),
        (["run", "v4-mapped-server", "-6"], "IP version"),
        (["run", "linger-0", "--repeat", "0"], "--repeat"),
    ],
)
def test_bad_input(arguments: list[str], says: str) -> None:
    done = lab(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_without_a_command_it_shows_its_help() -> None:
    done = lab()
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: tracetw lab")
