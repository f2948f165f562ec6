# SPDX-License-Identifier: Apache-2.0
"""``tracetw record`` as a command: what is recorded is what ``trace`` would have shown."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.kernel.kit.pair import only, reset_once
from tracetw.errors import BadInput
from tracetw.lab.net.topology import Net
from tracetw.lab.play.child import COMMAND, READY, Child, environment
from tracetw.lab.polling import eventually, patient
from tracetw.recording.facts import Harm
from tracetw.recording.reader import Recording, open_recordings
from tracetw.replay.reconciled import reconciled
from tracetw.replay.source import context_of, judged
from tracetw.stream.filter import Filter
from tracetw.stream.stages import Stages
from tracetw.verdict.taxonomy import VERDICTS

LINGER_0 = struct.pack("ii", 1, 0)
READY_S = 20.0
END_S = 30.0
# What is older than this when the power goes, or the recorder is killed, can be read.
SAFE_S = 2.0


class Recorder(Child):
    """``tracetw record``; runs in its context."""

    def __init__(self, folder: Path, *arguments: str, **more: Any) -> None:
        super().__init__(
            [*COMMAND, "record", "-o", str(folder), "--ready-fd", READY, *arguments], **more
        )

    def stop(self, status: int = 0, number: int = signal.SIGINT, lost: str = "nothing") -> str:
        """As Ctrl-C would; what it said."""
        said = self.end(status, number)
        assert f"lost: {lost}" in said
        return said


@contextmanager
def recorder(folder: Path, *arguments: str, **more: Any) -> Iterator[Recorder]:
    """Attached. ``more`` is for Popen."""
    with Recorder(folder, *arguments, **more) as run:
        run.await_ready()
        yield run


def read(folder: Path) -> Recording:
    (recording,) = open_recordings([folder])
    return recording


def recorded(folder: Path) -> int:
    """Connection ends that can be read so far."""
    try:
        return read(folder).counts["closes"]
    except BadInput:  # nothing yet
        return 0


def verdicts(recording: Recording) -> list[str]:
    stages = Stages(context_of(recording), Filter())
    return sorted(
        VERDICTS[index].code
        for part in judged(recording, stages)
        for index in part.findings.verdict
    )


def test_records_facts_that_reconcile(pair: Net, tmp_path: Path) -> None:
    with recorder(tmp_path, *only(pair), "--events", "timewait") as run:
        for _ in range(3):
            reset_once(pair)
        said = run.stop()
    assert f"recorded to {tmp_path}: 6 connections" in said
    recording = read(tmp_path)
    assert recording.damage == []
    assert recording.losses() == []
    assert verdicts(recording) == ["abort-linger"] * 3 + ["peer-reset"] * 3
    (rows,) = recording.closes()
    assert {*rows["netns"].tolist()} == {pair.a.netns, pair.b.netns}
    assert {*rows["pid"].tolist()} == {os.getpid()}
    header = recording.header
    assert header.host == socket.gethostname()
    assert header.kernel == os.uname().release
    assert header.boot == Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert header.events == {"timewait"}
    assert header.command[:2] == ("tracetw", "record")
    assert header.filters == (f"--netns {pair.a.name}", f"--netns {pair.b.name}")
    assert header.netns_names[pair.a.netns] == pair.a.name
    assert abs(header.started_ns - time.time_ns()) < 60e9
    before, attached, ended, _ = recording.samples()
    assert attached.sysctls[pair.a.netns]["net.ipv4.tcp_fin_timeout"] == 60
    assert before.moment == "before"
    assert ended.counters[pair.a.netns]["TCPAbortOnData"] == 3
    stages = Stages(context_of(recording), Filter())
    assert sum(len(part.rows) for part in judged(recording, stages)) == 6
    found, why = reconciled(recording, stages)
    assert (why, recording.header.netns_traced) == (
        None,
        tuple(sorted({pair.a.netns, pair.b.netns})),
    )
    by_name = {row["counter"]: row for row in found or ()}
    assert by_name["TCPAbortOnData"]["kernel"] == 3
    assert [row for row in by_name.values() if row["difference"]] == []


def test_a_command_is_recorded_and_its_status_returned(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import socket
        listener = socket.create_server(("127.0.0.1", 0))
        end = socket.create_connection(listener.getsockname())
        other = listener.accept()[0]
        end.close()
        other.recv(1)
        other.close()
        raise SystemExit(5)
    """)
    pid = os.getpid()
    done = subprocess.run(
        [*COMMAND, "record", "-o", str(tmp_path), "--", sys.executable, "-c", script],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=patient(END_S),
        check=False,
    )
    assert done.returncode == 5, done.stderr
    recording = read(tmp_path)
    (rows,) = recording.closes()
    ours = rows[np.isin(rows["lport"], rows["rport"]) & (rows["pid"] != pid)]
    assert len(ours) >= 2


def test_killed_it_has_what_was_safe(pair: Net, tmp_path: Path) -> None:
    with recorder(tmp_path, *only(pair)) as run:
        safe = 0
        begun = time.monotonic()
        ends: list[float] = []
        while time.monotonic() < begun + patient(SAFE_S) + 1.0:
            reset_once(pair)
            ends.append(time.monotonic())
        run.process.kill()
        safe = sum(end < time.monotonic() - patient(SAFE_S) for end in ends)
        run.process.wait()
    assert safe > 0
    recording = read(tmp_path)
    assert recording.counts["closes"] >= 2 * safe
    assert {*verdicts(recording)} == {"abort-linger", "peer-reset"}
    assert [damage.harm for damage in recording.damage] == [Harm.UNFINISHED]
    # The next run finishes what is left behind.
    with recorder(tmp_path, *only(pair)) as run:
        run.stop(130)
    assert len([*tmp_path.rglob("*.closes.parquet")]) == 1
    assert open_recordings([tmp_path])[0].counts == recording.counts


def test_a_signal_keeps_what_came_before(pair: Net, tmp_path: Path) -> None:
    with recorder(tmp_path, *only(pair), "--trigger", "signal") as run:
        reset_once(pair)

        folder = next(tmp_path.glob("host=*"))
        eventually(lambda: recorded(folder) == 2)
        run.process.send_signal(signal.SIGUSR1)
        eventually(lambda: [*(tmp_path / "kept").rglob("*.tws")])
        reset_once(pair)
        said = run.stop()
    assert "signal: kept what came before in" in said
    (kept,) = open_recordings([tmp_path / "kept"])
    assert verdicts(kept) == ["abort-linger", "peer-reset"]
    assert kept.damage == []
    assert read(tmp_path).counts["closes"] == 4


def test_a_verdict_is_a_trigger(pair: Net, tmp_path: Path) -> None:
    with recorder(tmp_path, *only(pair), "--trigger", "verdict:peer-reset") as run:
        reset_once(pair)
        eventually(lambda: [*(tmp_path / "kept").rglob("*.tws")])
        said = run.stop()
    assert "verdict:peer-reset: kept what came before" in said


def fill(path: Path) -> None:
    """Take all the room that is left, to the last page."""
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4096))


def test_full_disk_is_counted_and_passes(pair: Net, tmp_path: Path) -> None:
    """On a file system of its own, which is full for a while."""
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=48M", "tmpfs", str(disk)], check=True)
    try:
        with recorder(disk / "rec", *only(pair)) as run:
            reset_once(pair)
            eventually(lambda: recorded(disk) == 2)
            fill(disk / "fill")
            for _ in range(200):
                reset_once(pair)
            eventually(lambda: "cannot write the recording" in run.said())
            (disk / "fill").unlink()
            eventually(lambda: read(disk).losses())
            reset_once(pair)
            # Those that had not come to the recorder when there was room again are written.
            said = run.stop(1, lost="")
        assert "cannot write the recording: No space left on device" in said
        recording = read(disk)
        assert recording.damage == []
        (lost,) = recording.losses()
        assert lost.where == "the disk of the recorder"
        assert recording.counts["closes"] + lost.records == 2 * 202
        assert f"{lost.records} records could not be written" in said
        assert f"lost: {lost.records} records" in said
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--max-size", "1M"), "--max-size 1M is less than four segments"),
        (("--max-size", "lots"), "--max-size 'lots' is no size"),
        (("--segment", "64K"), "--segment 64K is too small"),
        (("--trigger", "verdict:nonsense"), "is no verdict"),
        (("--keep", "0"), "--keep '0' is no time"),
    ],
)
def test_what_cannot_be_is_said(arguments: tuple[str, ...], says: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "record", "-o", str(tmp_path / "new"), *arguments],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=patient(END_S),
        check=False,
    )
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "new").exists()
