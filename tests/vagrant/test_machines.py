# SPDX-License-Identifier: Apache-2.0
"""Three scenarios between real machines: a box built here, ``vagrant up`` under emulation, both ends' verdicts.

Only with ``scripts/test vagrant``: it takes some twenty minutes and six gigabytes of memory. As root it
builds the box and becomes an ordinary user for all else. What happened is printed, with times;
docs/vagrant.md has the last run. TRACETW_BOX_BUILT=1 takes the box that is there.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
NOBODY = 65534
PORTS = range(29_000, 29_032)
BOX = Path("/var/cache/tracetw-vm/boxes/debian-12.box")
ANYWHERE = ("/tmp", "/var/tmp", "/run", "/home", "/var/lib", "/var/cache", "/dev/shm")  # noqa: S108
pytestmark = [pytest.mark.vagrant, pytest.mark.timeout(5400)]


@dataclass
class User:
    """An ordinary user with a folder of its own, which holds all that Vagrant makes."""

    folder: Path

    def command(self, *words: str, **variables: str) -> tuple[list[str], dict[str, str]]:
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "VAGRANT_HOME": str(self.folder / "home"),
            "VAGRANT_DOTFILE_PATH": str(self.folder / "d"),
            "VAGRANT_CWD": str(ROOT / "vagrant"),
            "VAGRANT_CHECKPOINT_DISABLE": "1",
            "TRACETW_EMULATE": "1",
            "TRACETW_PORTS": str(PORTS.start),
            "TRACETW_PATIENCE": os.environ.get("TRACETW_PATIENCE", "8"),
            **variables,
        }
        become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--"]
        return [*become, *words], environment

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        argv, environment = self.command(*words)
        return subprocess.run(
            argv, env=environment, cwd=self.folder, stdout=subprocess.PIPE, text=True, check=False
        )

    def lab(self, *names: str) -> dict[str, dict[str, Any]]:
        """Outcomes by name."""
        python = str(ROOT / ".venv" / "bin" / "python")
        words = [
            python,
            "-I",
            "-m",
            "tracetw",
            "lab",
            "run",
            *names,
            "--on",
            "vagrant",
            "-o",
            "json",
        ]
        begin = time.monotonic()
        done = self.run(*words)
        outcomes = [json.loads(line) for line in done.stdout.splitlines()]
        for outcome in outcomes:
            print(f"{outcome['scenario']['name']}: {outcome['seconds']:.0f} s", outcome["problems"])
            print(outcome["report"])
        seconds = time.monotonic() - begin
        print(f"lab run {' '.join(names)}: {seconds:.0f} s, exit {done.returncode}", flush=True)
        return {outcome["scenario"]["name"]: outcome for outcome in outcomes}

    def left(self) -> list[str]:
        """Processes of this user that have to do with its folder, its files elsewhere, its ports."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and entry.stat().st_uid == NOBODY:
                    words = entry.joinpath("cmdline").read_bytes().replace(b"\0", b" ").decode()
                    variables = entry.joinpath("environ").read_bytes().decode(errors="replace")
                    if str(self.folder) in words + variables:
                        found.append(f"process {entry.name} {words}")
            except OSError:
                continue
        for port in PORTS:
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket.socket(socket.AF_INET, kind) as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    try:
                        probe.bind(("127.0.0.1", port))
                    except OSError:
                        found.append(f"port {port}")
        return found

    def files_elsewhere(self) -> set[str]:
        """Files of this user anywhere but in its folder."""
        words = ["find", *ANYWHERE, "-xdev", "-path", str(self.folder), "-prune", "-o"]
        words += ["-uid", str(NOBODY), "-print"]
        done = subprocess.run(
            words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False
        )
        return set(done.stdout.splitlines())


@pytest.fixture(scope="module")
def user() -> Iterator[User]:
    if os.geteuid() != 0:
        pytest.skip("builds a box, which needs root")
    subprocess.run([ROOT / "scripts" / "setup", "machines", "lab", "recording"], check=True)
    # A short name: the sockets of libvirt are below it.
    folder = Path("/tmp/tw-machines")  # noqa: S108
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o755)
    os.chown(folder, NOBODY, NOBODY)
    made = User(folder)
    try:
        yield made
    finally:
        made.run("vagrant", "destroy", "--force")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def box() -> float:
    """Seconds that it took to build; 0 for one that was there."""
    if os.environ.get("TRACETW_BOX_BUILT") and BOX.exists():
        return 0.0
    begin = time.monotonic()
    subprocess.run([ROOT / "scripts" / "build-box", "debian-12"], check=True)
    return time.monotonic() - begin


def lines(outcome: dict[str, Any], letter: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = outcome["lines"][letter]
    return found


def test_power_cut_then_a_reboot_then_nat(user: User, box: float) -> None:
    before = user.files_elsewhere()
    begin = time.monotonic()
    cut = user.lab("power-cut-keepalive")["power-cut-keepalive"]
    first = box + time.monotonic() - begin
    print(f"box {box:.0f} s; from nothing to the first verdict on both ends {first:.0f} s")
    assert not cut["problems"]
    assert [line["verdict"] for line in lines(cut, "a")] == ["keepalive-expired"]
    # The end of a machine without power: none that anybody could have recorded.
    assert lines(cut, "b") == []
    assert len(cut["recordings"]) == 2
    assert "it ends without its last frame" in " ".join(cut["report"].split())

    again = time.monotonic()
    rebooted = user.lab("reboot-then-data")["reboot-then-data"]
    print(f"one scenario afterwards {time.monotonic() - again:.0f} s")
    assert not rebooted["problems"]
    assert [line["verdict"] for line in lines(rebooted, "a")] == ["peer-lost-state"]
    assert lines(rebooted, "b") == []
    # Its machines have done their work, and the next four need the memory.
    assert user.run("vagrant", "destroy", "--force").returncode == 0

    nat = user.lab("nat-two-machines")["nat-two-machines"]
    assert not nat["problems"]
    assert [line["verdict"] for line in lines(nat, "b")] == ["orderly", "orderly"]
    assert [lines(nat, letter)[0]["verdict"] for letter in ("a", "c")] == ["orderly", "orderly"]

    assert user.run("vagrant", "destroy", "--force").returncode == 0
    end = time.monotonic() + 20
    while (left := user.left()) and time.monotonic() < end:
        time.sleep(0.5)
    assert left == []
    assert user.files_elsewhere() - before == set()


LAB = [str(ROOT / ".venv" / "bin" / "python"), "-I", "-m", "tracetw", "lab", "run"]


@pytest.mark.usefixtures("box")
@pytest.mark.parametrize("after_s", [4, 25, 60])
@pytest.mark.parametrize(
    "words", [["vagrant", "up"], [*LAB, "clock-jump", "--on", "vagrant"]], ids=["vagrant", "lab"]
)
def test_ctrl_c_while_the_machines_come_up_leaves_nothing(
    user: User, words: list[str], after_s: int
) -> None:
    """The lab takes back what it began; of Vagrant itself, machines that were made are ended by destroy."""
    argv, environment = user.command(*words)
    before = user.files_elsewhere()
    with subprocess.Popen(argv, env=environment, cwd=user.folder, stdout=sys.stderr) as process:
        try:
            time.sleep(after_s)
        finally:
            process.send_signal(signal.SIGINT)
            status = process.wait(600)
        assert status != 0
    if words[0] == "vagrant":
        assert user.run("vagrant", "destroy", "--force").returncode == 0
    end = time.monotonic() + 20
    while (left := user.left()) and time.monotonic() < end:
        time.sleep(0.5)
    assert left == []
    assert user.files_elsewhere() - before == set()
