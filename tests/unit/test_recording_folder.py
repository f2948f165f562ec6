# SPDX-License-Identifier: Apache-2.0
"""What lies in a recorder's folder: modes, links in the place of files and folders, leftovers."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.unit.recording_files import golden, written
from tests.unit.test_recording_recorder import Recorded, await_, rows
from tracetw.cli import main
from tracetw.errors import BadInput
from tracetw.recorder.compact import TEMPORARY, compact
from tracetw.recorder.folder import Folder, NotOurs
from tracetw.recorder.store import Store
from tracetw.recording.reader import open_recordings
from tracetw.sink.private import write_private


@pytest.fixture(params=[0, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def store(folder: Path) -> Store:
    return Store(folder, "golden", max_bytes=1 << 30, max_age_s=86_400)


def modes(folder: Path) -> dict[str, int]:
    return {
        str(path.relative_to(folder)): stat.S_IMODE(path.lstat().st_mode)
        for path in (folder, *folder.rglob("*"))
    }


def test_modes_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    """From the first byte: a wide file would be seen as soon as it is there."""
    at = tmp_path / "deep" / "below"
    recorded = Recorded(at)
    recorded.recorder.closes(rows(300))
    await_(recorded.segments)
    early = modes(tmp_path / "deep")
    recorded.recorder.keep("signal")
    await_(lambda: recorded.said)
    recorded.finish()
    pytest.importorskip("duckdb")
    cache = {"XDG_CACHE_HOME": str(tmp_path / "deep")}
    asked = CliRunner(env=cache).invoke(main, ["query", str(at / "host=golden"), "SELECT 1"])
    assert asked.exit_code == 0, asked.output
    found = {**early, **modes(tmp_path / "deep")}
    assert any(name.endswith(".closes.parquet") for name in found)
    assert any("kept" in name and name.endswith(".tws") for name in found)
    assert any("query" in name and name.endswith(".json") for name in found)
    for name, mode in found.items():
        folder = (tmp_path / "deep" / name).is_dir()
        assert mode & ~(0o750 if folder else 0o640) == 0, (name, oct(mode), umask)


@pytest.mark.parametrize("before", [False, True])
def test_a_page_is_for_its_owner(tmp_path: Path, umask: int, *, before: bool) -> None:
    written(tmp_path / "one.tws", golden().header)
    page = tmp_path / "page.html"
    if before:
        page.write_text("wide")
        page.chmod(0o666)
    done = CliRunner().invoke(main, ["report", str(tmp_path / "one.tws"), "--html", str(page)])
    assert done.exit_code == 0, done.output
    assert stat.S_IMODE(page.stat().st_mode) & ~0o640 == 0, umask
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.tws", "page.html"]


def test_a_file_that_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    target = tmp_path / "page.html"
    target.mkdir()
    with pytest.raises(OSError, match="directory"):
        write_private(target, b"new")
    assert [*tmp_path.iterdir()] == [target]
    write_private(Path("/dev/null"), b"nothing")
    link = tmp_path / "link"
    link.symlink_to("real")
    write_private(link, b"through")
    assert (tmp_path / "real").read_bytes() == b"through"


@pytest.mark.parametrize("mode", [0o770, 0o757, 0o722])
@pytest.mark.parametrize("which", ["", "host=golden", "host=golden/hour=2026-01-01T00", "kept"])
def test_a_folder_that_others_can_write_is_refused(tmp_path: Path, mode: int, which: str) -> None:
    at = tmp_path / "rec"
    (at / "host=golden" / "hour=2026-01-01T00").mkdir(parents=True)
    (at / "kept").mkdir()
    (at / "host=golden" / "hour=2026-01-01T00" / "x.tws").touch()
    (at / which).chmod(mode)
    with pytest.raises(BadInput) as said:
        store(at)
    assert str(at / which) in str(said.value)
    assert "can be written by" in str(said.value)
    assert "chmod go-w" in str(said.value)


def test_a_parent_may_be_for_everybody(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    store(tmp_path / "rec").close()


@pytest.mark.parametrize("which", ["host=golden", "kept", "host=golden/hour=2026-01-01T00"])
def test_a_link_in_the_place_of_a_folder_is_refused(tmp_path: Path, which: str) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "x.tws.tmp").write_text("precious")
    at = tmp_path / "rec"
    (at / which).parent.mkdir(parents=True)
    (at / which).symlink_to(victim)
    with pytest.raises(BadInput, match="is a link or a file"):
        store(at)
    assert [path.name for path in victim.iterdir()] == ["x.tws.tmp"]


def test_our_own_link_on_the_way_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "absolute").symlink_to(tmp_path / "real")
    (tmp_path / "relative").symlink_to("./absolute/../real/./")
    with Folder.reach(tmp_path / "relative" / "rec") as folder:
        os.close(folder.create("file"))
    assert (tmp_path / "real" / "rec" / "file").exists()
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(OSError, match="Too many levels"):
        Folder.reach(tmp_path / "round")


@pytest.mark.parametrize("name", ["x.closes.parquet.tmp", "x.closes.parquet", "x.tws.tmp"])
@pytest.mark.parametrize("hard", [False, True])
def test_a_link_in_the_place_of_a_file_is_not_followed(
    tmp_path: Path, name: str, *, hard: bool
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    at = tmp_path / "rec"
    at.mkdir()
    written(at / "x.tws", golden().header)
    if hard:
        (at / name).hardlink_to(victim)
    else:
        (at / name).symlink_to(victim)
    with Folder.reach(at) as folder:
        assert compact(folder, "x.tws")
    assert victim.read_text() == "precious"
    assert not (at / "x.closes.parquet").is_symlink()
    assert open_recordings([at])[0].damage == []


def test_pipes_and_links_are_no_segments(tmp_path: Path) -> None:
    hour = tmp_path / "rec" / "host=golden" / "hour=2026-01-01T00"
    hour.mkdir(parents=True)
    os.mkfifo(hour / "pipe.tws")
    (hour / "link.tws").symlink_to("/etc/passwd")
    opened = store(tmp_path / "rec")
    assert opened.raw() == []
    assert opened.enforce(1 << 40, lambda _: None, print) == 0
    opened.close()
    assert sorted(path.name for path in hour.iterdir()) == ["link.tws", "pipe.tws"]
    with Folder.reach(hour) as folder, pytest.raises(OSError, match="no regular file"):
        folder.read("pipe.tws")


def test_an_hour_that_became_a_link_is_left_alone(tmp_path: Path) -> None:
    """While recording: what the link leads to is neither deleted nor written."""
    at, victim = tmp_path / "rec", tmp_path / "victim"
    recorded = Recorded(at, total_bytes=1 << 20, segment_bytes=128 << 10)
    recorded.recorder.closes(rows(1500))
    await_(lambda: len(recorded.segments()) >= 1)
    recorded.recorder.keep("signal")  # closes the segment
    await_(lambda: recorded.said)
    (hour,) = (at / "host=golden").iterdir()
    hour.rename(victim)
    hour.symlink_to(victim)
    before = {path.name: path.read_bytes() for path in victim.glob("*.tws")}
    for first in range(0, 6000, 400):
        recorded.recorder.closes(rows(400, first))
        await_(lambda: not recorded.recorder._pending)
    totals = recorded.finish()
    assert {*before} <= {path.name for path in victim.iterdir()}
    assert {path.name for path in victim.glob("*.tws")} == {*before}
    assert totals.unwritten > 0
    assert "is a link or a file" in totals.error
    assert totals.closes + totals.unwritten == 1500 + 6000


def test_a_folder_stays_the_same_when_its_name_does_not(tmp_path: Path) -> None:
    """DIR is moved away, and a link to something else put in its place."""
    at, moved, victim = tmp_path / "rec", tmp_path / "moved", tmp_path / "victim"
    victim.mkdir()
    recorded = Recorded(at)
    recorded.recorder.closes(rows(100))
    await_(recorded.segments)
    at.rename(moved)
    at.symlink_to(victim)
    recorded.recorder.closes(rows(100))
    totals = recorded.finish()
    assert (totals.closes, totals.unwritten) == (200, 0)
    assert [*victim.iterdir()] == []
    assert len([*moved.rglob("*.closes.parquet")]) == 1


def test_what_a_crash_in_a_compaction_left_goes(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path)
    recorded.recorder.closes(rows(100))
    recorded.finish()
    (segment,) = recorded.segments()
    whole = {path.name: path.read_bytes() for path in segment.parent.iterdir()}
    raw = written(segment.parent / "raw.tws", golden().header)
    # It was killed between the Parquet file and the segment that names it, and between two deletions.
    for name in ("raw.closes.parquet", "gone.events.parquet", "raw.tws.tmp"):
        (segment.parent / name).write_bytes(b"half")
    kept = tmp_path / "kept" / "once" / "host=golden"
    kept.mkdir(parents=True)
    (kept / f"x.tws{TEMPORARY}").write_bytes(b"half")
    opened = store(tmp_path)
    assert [place.name for place in opened.raw()] == ["raw.tws"]
    opened.close()
    assert not [*kept.iterdir()]
    names = {path.name: path.read_bytes() for path in segment.parent.iterdir()}
    assert names == {**whole, "raw.tws": raw.read_bytes()}


def test_a_compaction_that_outlived_its_recorder_is_not_disturbed(tmp_path: Path) -> None:
    recorded = Recorded(tmp_path)
    recorded.recorder.closes(rows(100))
    recorded.finish()
    hour = recorded.segments()[0].parent
    raw = written(hour / "raw.tws", golden().header)
    (hour / "raw.closes.parquet.tmp").write_bytes(b"half")
    with Folder.reach(hour) as folder:
        assert folder.lock()
        Recorded(tmp_path).finish()
        assert (hour / "raw.closes.parquet.tmp").read_bytes() == b"half"
        assert not raw.with_suffix(".closes.parquet").exists()
    Recorded(tmp_path).finish()
    assert not (hour / "raw.closes.parquet.tmp").exists()
    assert raw.with_suffix(".closes.parquet").exists()


def test_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the process goes elsewhere meanwhile."""
    monkeypatch.chdir(tmp_path)
    recorded = Recorded(Path("rel"))
    recorded.recorder.closes(rows(100))
    monkeypatch.chdir("/")
    recorded.finish()
    assert len([*(tmp_path / "rel").rglob("*.closes.parquet")]) == 1


def test_no_folder_is_a_mistake() -> None:
    done = CliRunner().invoke(main, ["record", "-o", ""])
    assert done.exit_code == 2
    assert "-o '' is no folder" in done.stderr


def test_what_is_refused_at_run_time_is_an_error_of_the_disk(tmp_path: Path) -> None:
    with Folder.reach(tmp_path) as folder:
        (tmp_path / "wide").mkdir()
        (tmp_path / "wide").chmod(0o777)
        with pytest.raises(NotOurs, match="everybody"):
            folder.enter("wide")
        with folder.enter("new", "below", make=True) as below:
            assert below.shown == tmp_path / "new" / "below"
        with pytest.raises(FileExistsError):
            os.close(folder.create("new"))
