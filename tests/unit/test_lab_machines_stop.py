# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C while machines come up, with a Vagrant that makes none: what is taken back, and that nothing runs on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
STUB = """#!/bin/sh
echo "$*" >>"$LOG"
made() {
	mkdir -p "$VAGRANT_DOTFILE_PATH/machines/$1/libvirt"
	echo id >"$VAGRANT_DOTFILE_PATH/machines/$1/libvirt/id"
}
linger() {
	trap 'echo "$1 interrupted" >>"$LOG"; exit 1' INT
	: >"$LOG.$1"
	while :; do sleep 0.05; done
}
case $1 in
up)
	made client
	[ "$SLOW" != up ] || linger up
	[ "$SLOW" != fails ] || exit 3
	made server
	;;
ssh-config)
	: >"$LOG.ssh-config"
	[ "$SLOW" != ssh-config ] || sleep 1
	;;
esac
"""


@dataclass
class Stubbed:
    """A folder with a vagrant that writes down what it was asked for."""

    folder: Path

    @property
    def log(self) -> list[str]:
        return (self.folder / "log").read_text(encoding="utf-8").splitlines()

    def start(self, slow: str) -> subprocess.Popen[str]:
        environment = {
            "PATH": f"{self.folder}:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "VAGRANT_CWD": str(ROOT / "vagrant"),
            "VAGRANT_DOTFILE_PATH": str(self.folder / "d"),
            "TRACETW_EMULATE": "0",
            "LOG": str(self.folder / "log"),
            "SLOW": slow,
        }
        words = [sys.executable, "-I", "-m", "tracetw", "lab", "run", "clock-jump"]
        return subprocess.Popen(
            [*words, "--on", "vagrant"],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def await_(self, what: str) -> None:
        end = time.monotonic() + 60
        while not (self.folder / f"log.{what}").exists():
            assert time.monotonic() < end, "vagrant was never asked"
            time.sleep(0.02)

    def running(self) -> list[str]:
        """What still has the folder of the stub in its environment."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and bytes(self.folder) in (entry / "environ").read_bytes():
                    found.append((entry / "cmdline").read_text())
            except OSError:
                continue
        return found


@pytest.fixture
def stubbed(tmp_path: Path) -> Stubbed:
    program = tmp_path / "vagrant"
    program.write_text(STUB, encoding="utf-8")
    program.chmod(0o755)
    return Stubbed(tmp_path)


def one(process: subprocess.Popen[str], number: int) -> None:
    """As kill(1)."""
    process.send_signal(number)


def all_of_them(process: subprocess.Popen[str], number: int) -> None:
    """As Ctrl-C in a terminal: who is in the foreground gets it."""
    os.killpg(process.pid, number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("how", [one, all_of_them])
def test_what_was_begun_is_taken_back(
    how: Callable[[subprocess.Popen[str], int], None], number: int, stubbed: Stubbed
) -> None:
    with stubbed.start("up") as process:
        stubbed.await_("up")
        how(process, number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert stubbed.log == [
        "up client server",
        "up interrupted",
        "destroy --force client server",
    ]
    assert "stopped; machines that were up stay" in said
    assert stubbed.running() == []


def test_a_machine_that_was_there_stays(stubbed: Stubbed) -> None:
    before = stubbed.folder / "d" / "machines" / "server" / "libvirt"
    before.mkdir(parents=True)
    (before / "id").write_text("id", encoding="ascii")
    with stubbed.start("up") as process:
        stubbed.await_("up")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    assert stubbed.log[-1] == "destroy --force client"


def test_ctrl_c_when_they_are_up_and_were_never_entered(stubbed: Stubbed) -> None:
    with stubbed.start("ssh-config") as process:
        stubbed.await_("ssh-config")
        all_of_them(process, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert stubbed.log[-2:] == ["ssh-config client server", "destroy --force client server"]
    assert "stopped" in said
    assert stubbed.running() == []


def test_what_vagrant_could_not_make_is_left_to_look_at(stubbed: Stubbed) -> None:
    with stubbed.start("fails") as process:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 3
    assert stubbed.log == ["up client server"]
    assert "vagrant up client server failed, exit 3" in said
