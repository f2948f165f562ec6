# SPDX-License-Identifier: Apache-2.0
"""``tracetw record`` and ``tcpdump`` on a machine, and what they wrote, brought here."""

from __future__ import annotations

import io
import json
import re
import signal
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

from tracetw.lab.play.child import COMMAND, environment
from tracetw.lab.play.tracer import Line
from tracetw.lab.polling import eventually, require
from tracetw.lab.vagrant.remote import NETWORK, Machine
from tracetw.lab.vagrant.ssh import CHECKOUT

__all__ = ["CUT", "EVENTS", "MOST_CONNECTIONS", "MachineRecorder", "report", "told"]

EVENTS = "timewait,drop"
"""What is recorded besides closes."""
MOST_CONNECTIONS = 1 << 16
"""Live connections to have room for: said, so that the programs are the same on a machine of any size."""
CUT = "it ends without its last frame"
"""What a report says of a recording whose recorder did not end it (tracetw/recording/segment.py)."""
FOLDER = "/var/lib/tracetw-lab"
# Compiled programs, by what they were compiled from (tracetw/kernel/load/cache.py).
_CACHE = "/var/cache/tracetw"
_IMAGE = re.compile(r"[0-9a-f]{16,64}\.json")
# It compiles the programs when it runs for the first time under a kernel.
_READY_S = 150.0
_STOP_S = 30.0
_TRACETW = (f"{CHECKOUT}/.venv/bin/python", "-I", "-m", "tracetw")


class MachineRecorder:
    """Records a machine from now on, and with ``capture`` its wire. What a dead machine had written is fetched too.

    Args:
        machine: which.
        images: folder here for the compiled programs of all machines.
        capture: whether tcpdump runs, too.
    """

    def __init__(self, machine: Machine, images: Path, *, capture: bool = False) -> None:
        self.machine = machine
        self._images = images
        self._captures = capture
        machine.run("rm", "-rf", FOLDER)
        machine.run("mkdir", "-p", FOLDER)
        self._bring_images()
        # Where the checkout lies is no folder of Python's: the module is found by the .pth file of the environment.
        words = [
            *_TRACETW,
            "record",
            "--addr",
            NETWORK,
            "--events",
            EVENTS,
            "--max-connections",
            str(MOST_CONNECTIONS),
            "--ready-fd",
            "1",
            "-o",
            f"{FOLDER}/recording",
        ]
        self._way = machine.way
        self._number, _ = self._way.ask("spawn", words)
        self._tcpdump = 0
        self._stopped = False

    def await_ready(self) -> None:
        """It records when this returns."""
        told = self._way.ask("byte", self._number, wait_s=_READY_S)
        if not told:
            status, said = self._way.ask("wait", self._number, 5.0)
            require(False, f"tracetw record on {self.machine.name}, exit {status}: {said}")
        if self._captures:
            words = [
                "tcpdump",
                "-i",
                self.machine.device,
                "-U",
                "--immediate-mode",
                "-n",
                "-Z",
                "root",
            ]
            words += ["--time-stamp-precision=nano", "-w", f"{FOLDER}/wire.pcap", "net", NETWORK]
            self._tcpdump, _ = self._way.ask("spawn", words)

            def begun() -> bool:
                return "wire.pcap" in self.machine.run("ls", FOLDER)

            eventually(begun, what="tcpdump has begun")
        # What a power cut must find on the disk: that there is a recording. Later data is on its own.
        self.machine.run("sync")

    def _bring_images(self) -> None:
        """What another machine compiled from the same sources, which is minutes of an emulated one."""
        self.machine.run("mkdir", "-p", "-m", "700", _CACHE)
        there = self.machine.way.ask("names", _CACHE)
        for image in self._images.glob("*.json"):
            if image.name not in there:
                place = f"{_CACHE}/{image.name}"
                self.machine.way.ask("store", place, image.read_text(encoding="utf-8"))

    def _keep_images(self) -> None:
        self._images.mkdir(parents=True, exist_ok=True)
        for name in self.machine.way.ask("names", _CACHE):
            if _IMAGE.fullmatch(name) and not (self._images / name).exists():
                (text,) = self.machine.way.ask("read", f"{_CACHE}/{name}")
                (self._images / name).write_text(text, encoding="utf-8")

    def stop(self) -> None:
        """End both, if the machine has not ended them. May be called twice."""
        if self.machine.way is not self._way or self._stopped:
            return
        self._stopped = True
        for number in filter(None, (self._tcpdump, self._number)):
            self._way.ask("kill", number, int(signal.SIGINT))
            status, said = self._way.ask("wait", number, _STOP_S * 8, wait_s=_STOP_S * 2)
            # 130: nothing was traced before it was ended, as at a host where no connection ended.
            require(status in {0, 130}, f"{self.machine.name}: exit {status}: {said}")

    def fetch(self, into: Path) -> Path:
        """Bring it here: ``recording`` and ``wire.pcap`` below a folder of the machine's name."""
        folder = into / self.machine.name
        folder.mkdir(parents=True)
        packed = self.machine.way.ask("pack", FOLDER, wait_s=120.0)
        with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
            for member in archive:
                # Files of ours, by names that we expect; nothing else of an archive from elsewhere is written.
                parts = Path(member.name).parts[1:]
                if member.isfile() and parts and ".." not in parts:
                    place = folder.joinpath(*parts)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    source = archive.extractfile(member)
                    if source is not None:
                        place.write_bytes(source.read())
        return folder


def told(folder: Path) -> list[Line]:
    """What ``tracetw replay -o json`` prints of a recording."""
    return [
        json.loads(line)
        for line in _tracetw("replay", str(folder), "-o", "json", "--events", EVENTS).splitlines()
    ]


def report(folders: Sequence[Path]) -> str:
    """What ``tracetw report`` says of several recordings together."""
    return _tracetw("report", *map(str, folders))


def _tracetw(*words: str) -> str:
    done = subprocess.run(
        [*COMMAND, *words], capture_output=True, text=True, env=environment(), check=False
    )
    require(
        done.returncode == 0, f"tracetw {words[0]}: exit {done.returncode}: {done.stderr.strip()}"
    )
    return done.stdout
