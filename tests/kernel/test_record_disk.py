# SPDX-License-Identifier: Apache-2.0
"""``tracetw record`` on disks that are full, in folders of others, and under signals."""

from __future__ import annotations

import json
import os
import resource
import signal
import stat
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.kernel.kit.pair import only, reset_once
from tests.kernel.test_record import END_S, fill, read, recorded, recorder
from tracetw.lab.net.topology import Net
from tracetw.lab.play.child import COMMAND, environment
from tracetw.lab.play.tracer import Tracer
from tracetw.lab.polling import eventually, patient
from tracetw.recording.reader import open_recordings

NOBODY = 65534


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    path = tmp_path / "disk"
    path.mkdir()
    size = "size=16M,mode=0755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(path)], check=True)
    yield path
    subprocess.run(["umount", str(path)], check=True)


def tool(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *words],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=patient(END_S),
        check=False,
    )


def leftovers(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.name.endswith((".tmp", ".parquet"))]


def test_a_disk_that_stays_full(pair: Net, disk: Path) -> None:
    """What is there and what is counted as lost is all there was, and every reader knows."""
    with recorder(disk / "rec", *only(pair)) as run:
        reset_once(pair)
        eventually(lambda: recorded(disk) == 2)
        fill(disk / "fill")
        for _ in range(150):
            reset_once(pair)
        eventually(lambda: "cannot write the recording" in run.said())
        for _ in range(50):
            reset_once(pair)
        said = run.stop(1, lost="")
    recording = read(disk)
    assert recording.damage == []
    lost = sum(one.records for one in recording.losses())
    assert lost > 0
    assert recording.counts["closes"] + lost == 2 * 201
    assert f"lost: {lost} records could not be written" in said
    assert f"is not whole, {lost} records could not be written: No space left" in said
    assert "No space left" in said.splitlines()[-1]
    assert leftovers(disk) == []
    assert f"{lost} records lost" in tool("report", str(disk / "rec")).stdout
    *_, summary = tool("replay", str(disk / "rec"), "-o", "json").stdout.splitlines()
    assert json.loads(summary)["lost"] == lost
    # With room again the next start does what this one could not.
    (disk / "fill").unlink()
    with recorder(disk / "rec", *only(pair)) as run:
        run.stop(130)
    assert len([*disk.rglob("*.closes.parquet")]) == 1
    assert open_recordings([disk])[0].counts == recording.counts


def test_a_disk_that_was_full_before(pair: Net, disk: Path) -> None:
    """Not even a header fits."""
    (disk / "rec").mkdir(mode=0o750)
    with recorder(disk / "rec", *only(pair)) as run:
        eventually(lambda: [*disk.rglob("*.tws")])
        run.stop(130)
    before = {path for path in disk.rglob("*") if path.is_file()}
    fill(disk / "fill")
    with recorder(disk / "rec", *only(pair)) as run:
        for _ in range(10):
            reset_once(pair)
        said = run.stop(1, lost="20 records could not be written")
    assert "20 records could not be written: No space left on device" in said.splitlines()[-1]
    assert {path for path in disk.rglob("*") if path.is_file()} - before == {disk / "fill"}


def test_a_limit_on_the_size_of_files_begins_another(pair: Net, tmp_path: Path) -> None:
    """SIGXFSZ would kill."""
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (128 << 10, 128 << 10))
    with recorder(tmp_path / "rec", *only(pair), preexec_fn=limit) as run:
        for number in range(500):
            reset_once(pair)
            if number % 50 == 0:
                eventually(lambda: recorded(tmp_path) > number)  # noqa: B023
        run.stop()
    recording = read(tmp_path)
    assert recording.counts["closes"] == 1000
    assert recording.losses() == []
    assert recording.damage == []
    assert len(recording.segments) > 1


def test_a_relative_folder_is_compacted(pair: Net, tmp_path: Path) -> None:
    with recorder(Path("rel"), *only(pair), cwd=tmp_path) as run:
        reset_once(pair)
        said = run.stop()
    assert "recorded to rel: 2 connections" in said
    assert len([*(tmp_path / "rel").rglob("*.closes.parquet")]) == 1
    assert tool("record", "-o", "").returncode == 2


def test_modes_from_the_first_byte(pair: Net, tmp_path: Path) -> None:
    wide = partial(os.umask, 0)
    with recorder(tmp_path / "rec", *only(pair), "--trigger", "signal", preexec_fn=wide) as run:
        reset_once(pair)
        run.process.send_signal(signal.SIGUSR1)
        eventually(lambda: [*(tmp_path / "rec" / "kept").rglob("*.tws")])
        run.stop()
    for path in (tmp_path / "rec", *(tmp_path / "rec").rglob("*")):
        allowed = 0o750 if path.is_dir() else 0o640
        assert stat.S_IMODE(path.stat().st_mode) & ~allowed == 0, path


@pytest.mark.parametrize("which", ["", "host", "kept", "hour"])
def test_a_folder_of_somebody_else(pair: Net, tmp_path: Path, which: str) -> None:
    with recorder(tmp_path / "rec", *only(pair)) as run:
        reset_once(pair)
        run.stop()
    (host,) = (tmp_path / "rec").glob("host=*")
    (hour,) = host.iterdir()
    places = {"": host.parent, "host": host, "kept": host.parent / "kept", "hour": hour}
    foreign = places[which]
    os.chown(foreign, NOBODY, NOBODY)
    done = tool("record", "-o", str(tmp_path / "rec"), "--duration", "1")
    assert done.returncode == 2
    assert f"{foreign} belongs to nobody (uid {NOBODY})" in done.stderr
    assert f"chown 0 {foreign}" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_link_that_somebody_else_made(tmp_path: Path) -> None:
    """In a folder like /tmp; to a folder that is ours."""
    tmp_path.chmod(0o1777)
    ours = tmp_path / "ours"
    ours.mkdir(mode=0o750)
    for link, path in ((tmp_path / "rec", "rec"), (tmp_path / "on-the-way", "on-the-way/rec")):
        link.symlink_to(ours)
        os.lchown(link, NOBODY, NOBODY)
        done = tool("record", "-o", str(tmp_path / path), "--duration", "1")
        assert done.returncode == 2
        assert f"{link.name!r} in the path" in done.stderr
        assert "is a link that nobody" in done.stderr
        assert [*ours.iterdir()] == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_ends_it_with_its_segment_closed(
    pair: Net, tmp_path: Path, number: signal.Signals
) -> None:
    with recorder(tmp_path, *only(pair)) as run:
        reset_once(pair)
        run.stop(number=number)
    recording = read(tmp_path)
    assert recording.damage == []
    assert recording.counts["closes"] == 2


def test_signals_that_do_not_end_it(pair: Net, tmp_path: Path) -> None:
    """SIGUSR1 without its trigger, a pipe that closed, and SIGHUP under nohup(1)."""
    ignore = partial(signal.signal, signal.SIGHUP, signal.SIG_IGN)
    with recorder(tmp_path, *only(pair), preexec_fn=ignore) as run:
        for number in (signal.SIGUSR1, signal.SIGPIPE, signal.SIGHUP):
            run.process.send_signal(number)
            reset_once(pair)
        eventually(lambda: "SIGUSR1 keeps nothing" in run.said())
        eventually(lambda: recorded(tmp_path) == 6)
        assert run.process.poll() is None
        run.stop()
    assert not [*(tmp_path / "kept").iterdir()]


def test_trace_sums_up_when_its_terminal_goes_away(pair: Net) -> None:
    with Tracer() as tracer:
        reset_once(pair)
        tracer.select(kind="close", netns=pair.a.netns)
        summary = tracer.stop(number=signal.SIGHUP)
    assert summary["kind"] == "summary"
