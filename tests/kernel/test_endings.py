# SPDX-License-Identifier: Apache-2.0
"""Commands that trace, however they end. What needs no kernel is in tests/unit/test_endings.py."""

from __future__ import annotations

import shlex
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.unit.commands import PROGRAM, environment, heard, run
from tracetw.lab.polling import patient

MOMENTS = (0.0, 0.01, 0.02, 0.04, 0.06, 0.1, 0.2, 0.4, 0.7, 1.0)
TRACING = ["trace", "trace --events drop,timewait -o json", "record -o recording"]


def shell(script: str, words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run ``tracetw`` under a shell that prepares something."""
    return subprocess.run(
        ["bash", "-c", f'{script}; exec "$@"', "bash", *PROGRAM, *shlex.split(words)],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment(folder),
        timeout=patient(60),
    )


@pytest.mark.parametrize("words", TRACING)
def test_ctrl_c_at_any_moment(words: str, tmp_path: Path) -> None:
    """Before, while and after it attaches; 0 where something was traced (of this whole host)."""

    def interrupted(moment: float) -> tuple[float, int, str]:
        folder = tmp_path / str(moment)
        folder.mkdir()
        ended = run(*words.split(), folder=folder, interrupt_after_s=patient(moment))
        return moment, ended.code, ended.err

    with heard(), ThreadPoolExecutor(2) as pool:
        for moment, code, said in pool.map(interrupted, MOMENTS):
            assert code in {0, 130}, (moment, code, said)
            assert "Traceback" not in said, (moment, said)
            assert code == 130 or "lost: " in said, (moment, said)


@pytest.mark.parametrize("words", ["trace", "trace -o json", "trace -o wide"])
def test_a_full_disk(words: str, tmp_path: Path) -> None:
    with Path("/dev/full").open("wb") as out:
        ended = run(*words.split(), "--duration", "1s", folder=tmp_path, stdout=out)
    assert ended.code == 1
    assert "Traceback" not in ended.err
    assert sum(line.startswith("tracetw: ") for line in ended.lines) == 1
    assert "No space left on device" in ended.err


@pytest.mark.parametrize("words", ["trace", "trace -o json", "record -o recording"])
def test_a_reader_of_everything_that_leaves(words: str, tmp_path: Path) -> None:
    script = f"{shlex.join(PROGRAM)} {words} --duration 1s 2>&1 | head -1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env=environment(tmp_path),
    )
    first, status = done.stdout.splitlines()
    # The former where these options were never compiled here.
    assert first in {
        "tracetw: compiling, once for these options",
        "tracing TCP closes, Ctrl-C ends",
    }
    assert status == "0"
    assert done.stderr == ""


@pytest.mark.parametrize("words", ["trace", "record -o recording", "doctor"])
@pytest.mark.parametrize("most", [6, 12, 24])
def test_few_descriptors(words: str, most: int, tmp_path: Path) -> None:
    """The limit is to blame, not the kernel. With enough for it, doctor does its work."""
    done = shell(f"ulimit -n {most}", words, tmp_path)
    if words == "doctor" and done.returncode == 0:
        assert "Too many" not in done.stdout
        return
    assert done.returncode in {1, 3}
    (line,) = done.stderr.splitlines()
    assert line == (
        f"tracetw: too many open files: this process may open {most}; raise it: ulimit -n 1024"
    )


@pytest.mark.parametrize("words", ["trace", "record -o recording"])
def test_without_proc(words: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [
            "unshare",
            "-m",
            "sh",
            "-c",
            'umount -l /proc && exec "$@"',
            "sh",
            *PROGRAM,
            *words.split(),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=environment(tmp_path),
    )
    assert done.returncode == 3, done.stderr
    assert done.stderr == "tracetw: /proc is not mounted; mount it: mount -t proc proc /proc\n"


def test_thousands_of_networks(tmp_path: Path) -> None:
    """They are compared in user space: nobody waits half a minute for a compiler."""
    nets = [f"--addr=10.{number >> 8}.{number & 255}.0/25" for number in range(3000)]
    with Path("/dev/null").open("wb") as out:
        ended = run("trace", *nets, "--duration", "100ms", folder=tmp_path, stdout=out)
    assert ended.code == 0, ended.err
