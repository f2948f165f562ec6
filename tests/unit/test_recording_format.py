# SPDX-License-Identifier: Apache-2.0
"""The format: rows to columns and back, old versions, newer ones, the golden recordings."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.unit.recording_files import GOLDEN, everything, golden, written
from tracetw.errors import BadInput
from tracetw.event.record import CLOSE, EVENT
from tracetw.recorder import writer
from tracetw.recording import columns, convert
from tracetw.recording.convert import FORMAT_VERSION, Conversion, header_to_current, rows_to_current
from tracetw.recording.layout import dtypes_to_json, header_of
from tracetw.recording.reader import open_recordings
from tracetw.verdict.judge import judge
from tracetw.verdict.taxonomy import VERDICT_INDEX

# What the golden recordings are known to hold, by version.
CLOSES = {1: 150, 2: 150, 3: 150}
EVENTS = {1: 79, 2: 79, 3: 79}
RECEIVED = {1: 1_801_520, 2: 1_801_520, 3: 1_801_520}
_ABORTED = {"peer-reset": 10, "abort-late-data": 5, "abort-linger": 4, "abort-unread": 1}
ABORTED = {1: _ABORTED, 2: _ABORTED, 3: _ABORTED}
_MACHINE = "5b1f0c9d8e7a46239a10f4c2d3e8b760"
MACHINE = {1: None, 2: _MACHINE, 3: _MACHINE}

INSTALL = "pip install 'tracetw[recording]'"

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("dtype", [CLOSE, EVENT], ids=["close", "event"])
def test_any_row_survives_as_columns(dtype: np.dtype[np.void]) -> None:
    random = np.random.default_rng(7)
    rows = random.integers(0, 256, 3000 * dtype.itemsize, dtype=np.uint8).view(dtype)
    times = rows["at"].reshape(len(rows), -1)
    times[random.random(times.shape) < 0.4] = 0
    if dtype is EVENT:
        rows["born"][::2] = 0
    assert columns.rows(columns.columns(rows), dtype).tobytes() == rows.tobytes()


def test_every_version_has_a_golden_recording() -> None:
    assert {path.name for path in GOLDEN.iterdir()} == {f"v{n + 1}" for n in range(FORMAT_VERSION)}
    assert {*convert.STEPS} == set(range(1, FORMAT_VERSION))


@pytest.mark.parametrize("which", ["raw", "compacted"])
@pytest.mark.parametrize("version", sorted(CLOSES))
def test_a_golden_recording_says_what_it_always_said(version: int, which: str) -> None:
    (recording,) = open_recordings([GOLDEN / f"v{version}" / which])
    header = recording.header
    assert recording.damage == []
    assert (header.version, header.host, header.segment) == (version, "golden", 0)
    assert header.machine_id == MACHINE[version]
    assert header.names.state("TIME_WAIT") == 6
    assert header.signals[9] == "SIGKILL"
    assert header.errors[104] == "ECONNRESET"
    assert header.run_started_ns < header.started_ns < (header.ended_ns or 0)
    closes, events = everything(recording), everything(recording, "events")
    assert (len(closes), len(events)) == (CLOSES[version], EVENTS[version])
    assert (closes.dtype, events.dtype) == (CLOSE, EVENT)
    assert closes["bytes_received"].sum() == RECEIVED[version]
    verdicts = judge(closes, header.names, lossy=False).verdict
    for code, count in ABORTED[version].items():
        assert np.count_nonzero(verdicts == VERDICT_INDEX[code]) == count, code
    assert recording.cgroup_path(1) == "/"
    assert recording.user(0) == "root"
    moments = [sample.moment for sample in recording.samples()]
    assert moments == ["before", "attached", "ended", "stopped"]
    ended = [*recording.samples()][-1]
    assert ended.stats["RST_SOCKET"] == 10
    assert ended.sysctls[header.netns]["net.ipv4.tcp_fin_timeout"] == 60


def test_a_compacted_recording_is_the_same() -> None:
    for kind in ("closes", "events"):
        raw, packed = everything(golden(), kind), everything(golden("compacted"), kind)
        assert raw.tobytes() == packed.tobytes()


def test_batches_have_the_size_asked_for() -> None:
    sizes = [len(rows) for rows in golden().closes(64)]
    assert sizes == [64, 64, 22]


def test_steps_are_taken_one_at_a_time() -> None:
    rows = golden().closes(10)
    taken: list[int] = []

    def step(number: int) -> Conversion:
        def note(rows: np.ndarray) -> np.ndarray:
            taken.append(number)
            return rows

        return Conversion(lambda values: {**values, "at": [*values["at"], number]}, note, note)

    steps = {number: step(number) for number in (1, 2, 3)}
    assert header_to_current(2, {"at": []}, steps=steps, current=4) == {"at": [2, 3]}
    rows_to_current(1, next(rows), "events", steps=steps, current=4)
    assert taken == [1, 2, 3]


def test_a_newer_recording_asks_for_an_update(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "FORMAT_VERSION", FORMAT_VERSION + 1)
    path = written(tmp_path / "new.tws", golden().header)
    with pytest.raises(BadInput, match="please update"):
        open_recordings([path])


def test_header_survives_json() -> None:
    header = golden().header
    text = writer.to_json({**header.to_json(), "dtypes": dtypes_to_json()})
    again, dtypes = header_of(FORMAT_VERSION, text)
    assert again == replace(header, ended_ns=None)
    assert dtypes == {"closes": CLOSE, "events": EVENT}


def test_reads_segments_without_pyarrow_bcc_or_kernel_modules() -> None:
    code = (
        "import sys\n"
        "sys.modules['pyarrow'] = sys.modules['bcc'] = sys.modules['tracetw.kernel'] = None\n"
        "from tracetw.recording.reader import open_recordings\n"
        "raw, packed = (open_recordings([path])[0] for path in sys.argv[1:])\n"
        "print(sum(map(len, raw.closes())))\n"
        "try: next(packed.closes())\n"
        "except Exception as error: print(error)\n"
    )
    paths = [str(GOLDEN / f"v{FORMAT_VERSION}" / which) for which in ("raw", "compacted")]
    done = subprocess.run(
        [sys.executable, "-c", code, *paths], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "150",
        f"a compacted recording needs pyarrow, which is not installed; {INSTALL}",
    ]


@pytest.mark.parametrize("which", ["raw", "compacted"])
def test_rows_are_found_by_their_places(which: str) -> None:
    recording = golden(which)
    rows = everything(recording)
    places = np.array([0, 1, 5, 149])
    found = [*recording.closes_at(places)]
    assert np.concatenate([some for some, _ in found]).tolist() == places.tolist()
    assert np.concatenate([some for _, some in found]).tobytes() == rows[places].tobytes()
    assert [*recording.closes_at(np.zeros(0, np.int64))] == []
