# SPDX-License-Identifier: Apache-2.0
"""However a command ends (its reader leaves, the disk is full, Ctrl-C, wrong words): one line, its code."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.unit.commands import (
    COMMANDS,
    GOLDEN,
    IDS,
    PROGRAM,
    ROOT,
    WORK,
    Ended,
    environment,
    heard,
    run,
)

MOMENTS = (0.0, 0.01, 0.02, 0.04, 0.06, 0.1, 0.2, 0.4, 0.7, 1.0)
GROUPS = {(), ("lab",)}
# The codes of the README.
DONE, FAILED, USAGE, CANNOT, INTERRUPTED = 0, 1, 2, 3, 130
# Those that say something on standard output when they are given no words.
TALKATIVE = [
    path
    for path in COMMANDS
    if path in {("doctor",), ("timewait",), ("explain",), ("lab", "list"), ("lab", "book")}
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With a recording in it."""
    shutil.copytree(GOLDEN, tmp_path / "recording")
    return tmp_path


each_command = pytest.mark.parametrize("path", COMMANDS, ids=IDS)


def one_line(ended: Ended) -> bool:
    """Says one line, as tracetw does, and no traceback."""
    return len(ended.lines) == 1 and ended.lines[0].startswith("tracetw")


def test_every_command_is_tried() -> None:
    assert {*WORK} == {*COMMANDS}


@each_command
def test_help_into_a_pipe_that_nobody_reads(path: tuple[str, ...], folder: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as out:  # noqa: PTH123 (a descriptor)
        ended = run(*path, "--help", stdout=out, folder=folder)
    assert (ended.code, ended.err) == (DONE, "")


@each_command
def test_help_to_a_full_disk(path: tuple[str, ...], folder: Path) -> None:
    with Path("/dev/full").open("wb") as out:
        ended = run(*path, "--help", stdout=out, folder=folder)
    assert ended.code == FAILED
    assert one_line(ended), ended.err
    assert "standard output" in ended.err
    assert "No space left" in ended.err


@each_command
def test_work_to_a_full_disk(path: tuple[str, ...], folder: Path) -> None:
    """What fails for another reason has another line; nothing has two, and nothing is fine."""
    with Path("/dev/full").open("wb") as out:
        ended = run(*path, *WORK[path], stdout=out, folder=folder)
    assert ended.code in {FAILED, USAGE, CANNOT}
    assert one_line(ended), ended.err


@each_command
def test_work_into_a_pipe_that_nobody_reads(path: tuple[str, ...], folder: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "wb") as out:  # noqa: PTH123
        ended = run(*path, *WORK[path], stdout=out, folder=folder)
    assert ended.code in {DONE, USAGE, CANNOT}
    assert "Traceback" not in ended.err
    assert (ended.code == DONE) or one_line(ended), ended.err


@each_command
def test_without_words(path: tuple[str, ...], folder: Path) -> None:
    if path == ("trace",) and os.geteuid() == 0:
        pytest.skip("traces until Ctrl-C: tests/kernel/test_endings.py")
    ended = run(*path, folder=folder)
    assert "Traceback" not in ended.err
    if path in GROUPS:
        assert ended.code == USAGE
        assert ended.err.startswith(f"Usage: {' '.join(('tracetw', *path))} [OPTIONS] COMMAND")
        assert "Commands:\n" in ended.err
        assert max(map(len, ended.lines)) <= 100
    elif path in TALKATIVE:
        assert ended.code in {DONE, CANNOT}
    else:
        assert ended.code in {USAGE, CANNOT}
        assert one_line(ended), ended.err
    assert ended.code != DONE or ended.out


@each_command
@pytest.mark.parametrize("word", ["--no-such-option", "-Q", "no-such-thing\x1b[31m"])
def test_wrong_words(path: tuple[str, ...], word: str, folder: Path) -> None:
    if path == ("trace",) and not word.startswith("-"):
        pytest.skip("a command to run, which test_cli.py has")
    ended = run(*path, word, folder=folder)
    assert ended.code == USAGE
    assert one_line(ended), ended.err
    assert ended.out == ""
    assert "\x1b" not in ended.err


@each_command
def test_ctrl_c_at_any_moment(path: tuple[str, ...], folder: Path) -> None:
    """While Python starts, while modules are imported, in the middle of the work, at its end."""
    words = [*path, *WORK[path]]
    usual = run(*words, folder=folder)

    def interrupted(moment: float) -> Ended:
        return run(*words, interrupt_after_s=moment, folder=folder)

    with heard(), ThreadPoolExecutor(2) as pool:
        for moment, ended in zip(MOMENTS, pool.map(interrupted, MOMENTS), strict=True):
            assert ended.code in {INTERRUPTED, usual.code}, (moment, ended)
            if ended.code == INTERRUPTED:
                assert ended.err == "", (moment, ended)
            else:
                assert "Traceback" not in ended.err, (moment, ended)


@each_command
@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_closed_descriptors(path: tuple[str, ...], closed: tuple[int, ...], folder: Path) -> None:
    ended = run(*path, *WORK[path], closed=closed, folder=folder)
    assert "Traceback" not in ended.err
    assert ended.code in {DONE, USAGE, CANNOT}
    if 2 in closed:
        assert ended.err == ""
        assert "tracetw: " not in ended.out  # a message in place of the output
    elif 1 in closed and "--help" not in WORK[path]:
        assert ended.code in {USAGE, CANNOT}
        assert one_line(ended), ended.err


@each_command
def test_a_terminal_that_knows_ascii_only(
    path: tuple[str, ...], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "ascii:strict")
    ended = run(*path, *WORK[path], folder=folder)
    assert "Traceback" not in ended.err
    assert ended.code in {DONE, USAGE, CANNOT}


def test_what_is_written_to_a_closed_descriptor_goes_nowhere(folder: Path) -> None:
    """Not into the file that was opened next and got its number."""
    page = folder / "page.html"
    words = ["report", "recording", "--html", str(page)]
    assert run(*words, closed=(2,), folder=folder).code == DONE
    assert page.read_text().startswith("<!")
    assert "tracetw: wrote" not in page.read_text()


def test_a_launcher_keeps_ctrl_c_from_python_while_it_starts() -> None:
    assert "env --block-signal=INT" in (ROOT / "scripts" / "tracetw").read_text()


def test_an_ignored_interrupt_stays_ignored() -> None:
    """A background job of a script."""
    code = (
        "import signal, sys; from tracetw.__main__ import main; sys.argv = ['tracetw', '--version']\n"
        "try:\n    main()\n"
        "finally:\n    print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN, file=sys.stderr)"
    )
    done = subprocess.run(
        ["env", "--ignore-signal=INT", sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert (done.returncode, done.stderr) == (0, "True\n")


@pytest.mark.parametrize("number", [1, 2])
def test_both_outputs_into_one_pipe_that_nobody_reads(number: int, folder: Path) -> None:
    """``tracetw ... 2>&1 | head`` ended with 120: Python writes once more at its end."""
    program = shlex.join(PROGRAM)
    script = f"{program} explain 2>&1 | head -{number} >/dev/null; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env=environment(folder),
    )
    assert (done.stdout, done.stderr) == ("0\n", "")


@pytest.mark.parametrize("path", COMMANDS, ids=IDS)
def test_few_descriptors(path: tuple[str, ...], folder: Path) -> None:
    """``ulimit -n`` is named, not the kernel."""
    if os.geteuid() == 0 and path == ("trace",):
        pytest.skip("tests/kernel/test_endings.py")
    script = 'ulimit -n 10; exec "$@"'
    done = subprocess.run(
        ["bash", "-c", script, "bash", *PROGRAM, *path, *WORK[path]],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment(folder),
    )
    assert "Traceback" not in done.stderr
    assert "kernel" not in done.stderr or done.returncode == 0, done.stderr
