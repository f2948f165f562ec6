# SPDX-License-Identifier: Apache-2.0
"""The table takes the room it has, and shows namespaces where there are several."""

from __future__ import annotations

import fcntl
import io
import os
import pty
import select
import struct
import termios
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.unit.sink_rows import GROUPS, NAMES, closes, varied
from tracetw.sink.layout import narrow
from tracetw.sink.table import TableSink
from tracetw.stream.batch import Closes, Context, Summary
from tracetw.text import columns
from tracetw.verdict.taxonomy import CLOSED_BY, VERDICTS

HERE, BLUE, UNNAMED = 4026531840, 4026532001, 4026532002
CONTEXT = Context("box", HERE, NAMES, GROUPS.get, {HERE: "host", BLUE: "blue\x1b[0m"}.get)
FAR = {"family": 10, "local": "2001:db8:1111:2222:3333:4444:5555:6666", "lport": 65535}
FAR |= {"remote": "fd00:1111:2222:3333:4444:5555:6666:7777", "rport": 51234}
FAR |= {"comm": b"fifteen-letters", "pid": 4194304, "exit_code": 26}
FAR |= {"closed_by": CLOSED_BY.index("process-crash")}
TITLES = "TIME     LOCAL"


class Terminal:
    """A pseudo-terminal: what a sink writes to it, as lines."""

    def __init__(self, width: int, height: int) -> None:
        self._reader, writer = pty.openpty()
        attributes = termios.tcgetattr(writer)
        attributes[1] &= ~termios.OPOST  # a newline stays one
        termios.tcsetattr(writer, termios.TCSANOW, attributes)
        self.out = os.fdopen(writer, "wb", buffering=0)
        self.resize(width, height)

    def resize(self, width: int, height: int) -> None:
        fcntl.ioctl(self.out, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def lines(self) -> list[str]:
        text = b""
        while select.select([self._reader], [], [], 0.2)[0]:
            text += os.read(self._reader, 1 << 16)
        return text.decode().splitlines()

    def close(self) -> None:
        self.out.close()
        os.close(self._reader)


@pytest.fixture(autouse=True)
def _no_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    with closing(Terminal(80, 24)) as one:
        yield one


def sink(out: Terminal) -> TableSink:
    return TableSink(out.out, CONTEXT, wide=False, color=False, utc=True)


def written(*batches: Closes) -> list[str]:
    out = io.BytesIO()
    one = TableSink(out, CONTEXT, wide=False, color=False, utc=True)
    for batch in batches:
        one.closes(batch)
    return out.getvalue().decode().splitlines()


def test_nothing_is_cut_at_200_columns(terminal: Terminal) -> None:
    terminal.resize(200, 50)
    every = closes(*(FAR | {"verdict": verdict.code, "netns": HERE} for verdict in VERDICTS))
    one = sink(terminal)
    one.closes(every)
    one.closes(closes(FAR | {"netns": UNNAMED}))
    text = terminal.lines()
    assert not any("…" in line for line in text)
    assert max(map(columns, text)) <= 200
    for line, verdict in zip(text[1:], VERDICTS, strict=False):
        assert f"[{FAR['local']}]:65535 " in line
        assert f"[{FAR['remote']}]:51234 " in line
        assert "fifteen-letters/4194304 " in line
        assert f"{verdict.code} SIGVTALRM " in f"{line} "
    assert f" {UNNAMED} " in text[-1]


@pytest.mark.parametrize("width", [80, 81, 93, 100, 120, 132, 160, 200, 400])
@pytest.mark.parametrize("namespaces", [False, True])
def test_every_width_is_kept(width: int, *, namespaces: bool) -> None:
    layout = narrow(width, namespaces=namespaces)
    total = sum(column.width for column in layout.columns) + len(layout.columns) - 1
    assert total <= width
    assert total == width or width > 170
    for name in ("time", "local", "mark", "remote", "process", "verdict"):
        assert layout.width(name) <= narrow(width + 1, namespaces=namespaces).width(name)


@pytest.mark.parametrize("width", [80, 100, 132, 200])
def test_no_line_is_longer_than_the_terminal(terminal: Terminal, width: int) -> None:
    terminal.resize(width, 100)
    one = sink(terminal)
    one.closes(varied(60))
    one.closes(closes(FAR, FAR | {"netns": BLUE}, FAR | {"comm": "中文中文".encode()}))
    assert max(map(columns, terminal.lines())) <= width


def test_a_resized_terminal_gets_a_new_heading(terminal: Terminal) -> None:
    one = sink(terminal)
    one.closes(closes({}))
    terminal.resize(120, 24)
    one.closes(closes({}, {}))
    heads = [line for line in terminal.lines() if line.startswith(TITLES)]
    assert len(heads) == 2
    assert len(heads[0]) < len(heads[1]) <= 120


def test_the_heading_comes_again_with_each_screenful(terminal: Terminal) -> None:
    terminal.resize(80, 10)
    one = sink(terminal)
    one.head()
    for _ in range(5):
        one.closes(closes(*[{}] * 5))
    text = terminal.lines()
    assert [at for at, line in enumerate(text) if line.startswith(TITLES)] == [0, 9, 18, 27]
    assert len(text) == 29


def test_elsewhere_the_heading_comes_once_and_columns_says_how_wide(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert sum(line.startswith(TITLES) for line in written(closes(*[{}] * 500))) == 1
    assert columns(written(closes(FAR))[1]) <= 80
    monkeypatch.setenv("COLUMNS", "200")
    assert f"[{FAR['remote']}]:51234" in written(closes(FAR))[1]
    for nonsense in ("-5", "0", "", "x", "9" * 400, "٣٠٠"):
        monkeypatch.setenv("COLUMNS", nonsense)
        assert columns(written(closes(FAR))[1]) <= 80


def test_the_heading_of_a_file_waits_for_its_columns() -> None:
    out = io.BytesIO()
    one = TableSink(out, CONTEXT, wide=False, color=False, utc=True)
    one.head()
    assert not out.getvalue()
    one.closes(closes({"netns": HERE}, {"netns": BLUE}))
    one.summary(Summary(0, 1.0, {}, 0, []))
    (head, *_) = text = out.getvalue().decode().splitlines()
    assert "NETNS" in head
    assert len(text) == 3
    out = io.BytesIO()
    one = TableSink(out, CONTEXT, wide=False, color=False, utc=True)
    one.head()
    one.summary(Summary(0, 1.0, {}, 0, []))
    assert len(out.getvalue().splitlines()) == 1


def test_namespaces_are_shown_from_the_second_on() -> None:
    text = written(
        closes({"netns": HERE}, {"netns": 0}),
        closes({"netns": HERE}, {"netns": BLUE}, {"netns": UNNAMED}, {"netns": 0}),
    )
    assert text[0].split() == ["TIME", "LOCAL", "REMOTE", "PROCESS", "VERDICT"]
    assert text[3].split() == ["TIME", "NETNS", "LOCAL", "REMOTE", "PROCESS", "VERDICT"]
    assert [line[9:15].strip() for line in text[4:]] == ["host", "blu…0m", "…32002", "-"]
    assert max(map(columns, text)) <= 80


def test_wide_names_namespaces() -> None:
    out = io.BytesIO()
    one = TableSink(out, CONTEXT, wide=True, color=False, utc=True)
    one.closes(closes({"netns": HERE}, {"netns": BLUE}, {"netns": UNNAMED}))
    text = out.getvalue().decode()
    assert [line.split()[1] for line in text.splitlines()[1:]] == [
        "host",
        "blue\\x1b[0m",
        str(UNNAMED),
    ]


def test_an_ipv6_address_keeps_what_tells_hosts_apart() -> None:
    one = {"family": 10, "local": "2001:db8::1", "lport": 443, "rport": 51234}
    remotes = [f"2001:db8:aaaa:bbbb:cccc:dddd:ee:{number:x}" for number in range(1, 40)]
    text = written(closes(*(one | {"remote": remote} for remote in remotes)))[1:]
    assert len({line[27:45] for line in text}) == len(remotes)
