# SPDX-License-Identifier: Apache-2.0
"""``tracetw top`` in a real terminal, over real connections: what it shows, what it costs, how it ends."""

from __future__ import annotations

import os
import re
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.benchmark.namespace import storm_host
from scripts.benchmark.storm import Storm
from tests.kernel.kit.tmux import Screen, screen
from tracetw.host.privileges import ENTER_NAMESPACES, READ_PROCESSES
from tracetw.lab.net.topology import Net
from tracetw.lab.polling import patient

LINGER_0 = struct.pack("ii", 1, 0)
TICKS = os.sysconf("SC_CLK_TCK")
SPAN_S = 6.0
IDLE, STORM = 0.01, 0.15
BUSY = 0.25
"""All threads together: 0.11 on a machine that does nothing else, 0.20 on one whose CPUs are all taken."""
BURST = 60_000 // round(patient(1))


@pytest.fixture
def pair() -> Iterator[Net]:
    with Net() as made:
        yield made


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Screen]:
    with screen(tmp_path) as made:
        yield made


def start(terminal: Screen, *words: str) -> None:
    """The full screen of a trace."""
    terminal.start(["top", *words])
    terminal.until(lambda text: re.search(r"top: closes .*  live  ", text), 60)


def only(pair: Net) -> list[str]:
    return ["--netns", pair.a.name, "--netns", pair.b.name]


def reset(pair: Net, times: int = 1) -> None:
    """Connections that the client resets."""
    for _ in range(times):
        link = pair.connect()
        link.a.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
        link.a.close()
        link.b.close()
        link.listener.close()


def cpu_s(pid: int, task: int | None = None) -> float:
    """CPU seconds of a process so far, or of one of its threads."""
    where = f"/proc/{pid}/stat" if task is None else f"/proc/{pid}/task/{task}/stat"
    user, system = Path(where).read_text().rsplit(")", 1)[1].split()[11:13]
    return (int(user) + int(system)) / TICKS


def test_real_connections_on_a_real_terminal(pair: Net, terminal: Screen) -> None:
    start(terminal, *only(pair))
    reset(pair, 3)
    text = terminal.until(lambda text: text.count("3 ") and "abort-linger" in text)
    assert re.search(r"^abort-linger +3 ", text, re.MULTILINE)
    assert re.search(r"^peer-reset +3 ", text, re.MULTILINE)
    assert "lost 0" in text
    # From the group of the client's ends to one of them.
    terminal.keys("/", *"abort-linger", "Enter")
    terminal.until(lambda text: "filter: abort-linger" in text)
    terminal.keys("Enter")
    terminal.until(lambda text: "group: " in text and "LOCAL" in text)
    terminal.keys("Enter")
    text = terminal.until(lambda text: "here" in text and "--SYN" in text)
    assert "SO_LINGER 0" in text
    terminal.keys("5")
    text = terminal.until(lambda text: "top: trust" in text)
    assert re.search(r"^6 connections reported, lost: nothing$", text, re.MULTILINE)
    # The trace goes on, and its counters are compared already.
    text = terminal.until(lambda text: "So far:" in text)
    terminal.until(lambda text: re.search(r"^EstabResets +6 +6 +0 *$", text, re.MULTILINE))
    terminal.until(lambda text: re.search(r"^TCPAbortOnData +3 +3 +0 *$", text, re.MULTILINE))
    terminal.keys("1")
    terminal.until(lambda text: "filter: " in text)
    terminal.keys("Escape")  # by itself: with the next key it would be Alt
    terminal.until(lambda text: "filter: " not in text)
    terminal.keys("Space")
    terminal.until(lambda text: "  at " in text)
    terminal.keys("Space")
    terminal.until(lambda text: "  live  " in text)
    terminal.resize(60, 12)
    terminal.until(lambda text: len(text.split("\n")) == 12 and "q end" in text.split("\n")[-1])
    assert max(map(len, terminal.lines())) <= 60
    terminal.resize(120, 40)
    terminal.until(lambda text: len(text.split("\n")) == 40 and "q end" in text.split("\n")[-1])
    terminal.keys("q")
    text = terminal.until(lambda text: "ended with" in text)
    assert "ended with 0" in text
    assert "6 connections that the filter lets through ended in" in " ".join(text.split())
    assert "lost: nothing" in text


def test_ctrl_c_ends_it(pair: Net, terminal: Screen) -> None:
    start(terminal, *only(pair))
    terminal.keys("C-c")
    assert "ended with 0" in terminal.until(lambda text: "ended with" in text)


def test_it_ends_after_its_time(pair: Net, terminal: Screen) -> None:
    start(terminal, *only(pair), "--duration", "2s")
    assert "ended with 0" in terminal.until(lambda text: "ended with" in text)


def test_every_thread_gives_its_privileges_up(pair: Net, terminal: Screen) -> None:
    start(terminal, *only(pair))
    tasks = [*Path(f"/proc/{terminal.pid}/task").iterdir()]
    assert len(tasks) >= 4  # the screen, its input and output, the trace, its writer
    kept = {"CAP_SYS_PTRACE": 19, "CAP_DAC_READ_SEARCH": 2, "CAP_SYS_ADMIN": 21}
    assert {*kept} == READ_PROCESSES | ENTER_NAMESPACES
    allowed = sum(1 << number for number in kept.values())
    for task in tasks:
        held = re.search(r"^CapEff:\s*(\w+)$", (task / "status").read_text(), re.MULTILINE)
        assert held is not None
        assert not int(held[1], 16) & ~allowed, task


def test_it_rests_when_nothing_ends(pair: Net, terminal: Screen) -> None:
    start(terminal, *only(pair))
    time.sleep(2)
    pid, begin = terminal.pid, time.monotonic()
    before = cpu_s(pid)
    time.sleep(SPAN_S)
    part = (cpu_s(pid) - before) / (time.monotonic() - begin)
    assert part < patient(IDLE)


@pytest.mark.timeout(300)
def test_a_storm_costs_no_record_and_little(terminal: Screen, storm: Storm) -> None:
    """Of three storms: other work on the machine makes every connection dearer."""
    parts: list[float] = []
    total = 0
    with storm_host() as host:
        start(terminal, "--netns", host.name)
        pid = terminal.pid
        while len(parts) < 3 and (not parts or min(parts) >= patient(BUSY)):
            begin, before, screen_before = time.monotonic(), cpu_s(pid), cpu_s(pid, pid)
            load = storm.run(host, BURST)
            spent = time.monotonic() - begin
            total += 2 * load.connections
            own, whole = cpu_s(pid, pid) - screen_before, cpu_s(pid) - before
            parts.append(whole / spent)
            print(f"{load.rate:,.0f} a second: screen {own / spent:.1%}, all {whole / spent:.1%}")
            assert own / spent < patient(STORM) / 3
        terminal.until(lambda text: "lost 0" in text.split("\n")[0])
        terminal.keys("q")
        text = terminal.until(lambda text: "ended with" in text, 60)
    assert "lost: nothing" in text
    shown = re.search(r"^([\d,]+) connections reported", terminal.text(), re.MULTILINE)
    assert shown is None or int(shown[1].replace(",", "")) == total
    assert min(parts) < patient(BUSY), parts
