# SPDX-License-Identifier: Apache-2.0
"""Every question of docs/questions.md, exactly as it stands there, against a recording whose truth is known."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import struct
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import pytest
from click.testing import CliRunner

from tests.kernel.kit.pair import only
from tests.kernel.test_record import recorder
from tracetw.cli import main
from tracetw.lab.net.host import PORT
from tracetw.lab.net.topology import Link, Net
from tracetw.lab.polling import eventually
from tracetw.lab.scenarios.moves import see_reset, talk
from tracetw.recording.reader import open_recordings

pytest.importorskip("duckdb")
pytest.importorskip("pyarrow")

PAGE = Path(__file__).parents[2] / "docs" / "questions.md"
QUESTION = re.compile(
    r"^## ([^\n]+)\n(?:(?!## )[^\n]*\n)*?```sql\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
QUESTIONS = dict(QUESTION.findall(PAGE.read_text(encoding="utf-8")))
LINGER_0 = struct.pack("ii", 1, 0)
IDLE_S, CLOSE_WAIT_S = 0.3, 0.4
NOBODY_LISTENS = 7099
API = 7001
UNREAD = 300

JIFFY_MS = 10
CLOCK_S = 0.05
# Of 10 connections to the service and 3 to the api both ends, of 6 refused ones the client's; three clients of
# the service are still open when the recording ends.
CONNECTION_ENDS = 2 * 13 + 6 - 3

Rows: TypeAlias = list[dict[str, Any]]


class Recorded(NamedTuple):
    """The load and the folder of its recording; called with a question, or with SQL, it gives the rows."""

    truth: Truth
    folder: Path

    def __call__(self, question: str) -> tuple[Truth, Rows]:
        return self.truth, ask(self.folder, QUESTIONS.get(question, question))


class Truth:
    """What the load did, by question; times are seconds since 1970."""

    def __init__(self, pair: Net) -> None:
        self.pair = pair
        self.a, self.b = pair.a.addresses[4], pair.b.addresses[4]
        self.me: dict[str, Any] = {
            "comm": Path("/proc/self/comm").read_text().strip(),
            "pid": os.getpid(),
        }
        self.pids: list[int] = []
        self.listener = pair.listen(backlog=64)
        self.died = (0.0, 0.0)
        self.began, self.ended = time.time(), 0.0
        self.refused: list[float] = []

    def play(self) -> None:
        """Both ends in this process, but for the api."""
        listener = self.listener
        self._orderly(self.listener, 3)
        self._reset_after_idle(listener, 2)
        self._never_close(listener, 3)
        self._close_wait(listener)
        self._unread(listener)
        self._refused(4)
        self._deploys()
        self.ended = time.time()

    def _link(self, listener: socket.socket) -> Link:
        client = self.pair.client()
        client.connect((self.b, PORT))
        accepted = self.pair.keep(listener.accept()[0])
        accepted.settimeout(client.gettimeout())
        return Link(client, accepted, listener)

    def _orderly(self, listener: socket.socket, count: int) -> None:
        """The client closes first."""
        for _ in range(count):
            link = self._link(listener)
            talk(link)
            link.a.close()
            _see_end(link.b)
            link.b.close()

    def _reset_after_idle(self, listener: socket.socket, count: int) -> None:
        """The server aborts."""
        links = [self._link(listener) for _ in range(count)]
        for link in links:
            talk(link)
        time.sleep(IDLE_S)
        for link in links:
            link.b.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
            link.b.close()
            see_reset(link.a)
            link.a.close()

    def _never_close(self, listener: socket.socket, count: int) -> None:
        """The server closes, the clients never do: its kernel gives them up."""
        links = [self._link(listener) for _ in range(count)]
        for link in links:
            link.b.close()
            _see_end(link.a)
        eventually(lambda: self.pair.b.states().count("FIN_WAIT2") == count)
        eventually(lambda: "FIN_WAIT2" not in self.pair.b.states())

    def _close_wait(self, listener: socket.socket) -> None:
        """The client closes, the server later."""
        link = self._link(listener)
        link.a.close()
        _see_end(link.b)
        time.sleep(CLOSE_WAIT_S)
        link.b.close()

    def _unread(self, listener: socket.socket) -> None:
        """The server closes with unread data."""
        link = self._link(listener)
        link.a.sendall(bytes(UNREAD))
        eventually(lambda: self.pair.b.unread() == UNREAD)
        link.b.close()
        see_reset(link.a)
        link.a.close()

    def _refused(self, count: int, port: int = NOBODY_LISTENS) -> None:
        for _ in range(count):
            with pytest.raises(ConnectionRefusedError):
                self.pair.client().connect((self.b, port))
            self.refused.append(time.time())

    def _deploys(self) -> None:
        """The first api is killed with a connection open; the second one closes without reading."""
        first = self.pair.actor(self.pair.b, "api")
        self.pids.append(first.pid)
        first.listen(port=API)
        client = self._of(first)
        client.close()
        first.do("receive")
        first.do("close")
        client = self._of(first)
        before = time.time()
        os.kill(first.pid, signal.SIGKILL)
        first.wait()
        self.died = (before, time.time())
        _see_end(client)
        client.close()
        self._refused(2, API)
        second = self.pair.actor(self.pair.b, "api")
        self.pids.append(second.pid)
        second.listen(port=API)
        client = self._of(second)
        client.sendall(b"x" * UNREAD)
        eventually(lambda: self.pair.b.unread(API) == UNREAD)
        second.do("close")
        see_reset(client)
        client.close()
        second.order("exit", 0)
        second.wait()

    def _of(self, actor: Any) -> socket.socket:
        client = self.pair.client()
        client.connect((self.b, API))
        actor.do("accept")
        return client


def _see_end(end: socket.socket) -> None:
    """The peer's FIN is here."""
    assert end.recv(1) == b""


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    folder = tmp_path_factory.mktemp("questions")
    with pytest.MonkeyPatch.context() as patch, Net() as pair:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        truth = Truth(pair)
        pair.b.sysctl(tcp_fin_timeout=1)
        with recorder(folder, *only(pair)) as run:
            truth.play()
            pair.b.sysctl(tcp_fin_timeout=7)
            run.stop()
        yield Recorded(truth, folder)


def ask(folder: Path, sql: str) -> Rows:
    result = CliRunner().invoke(main, ["query", str(folder), sql, "-o", "json"])
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_who_resets_whom(recording: Recorded) -> None:
    truth, rows = recording("Who resets whom?")
    assert without(rows, "from_addr", "to_addr") == [
        {"service_port": NOBODY_LISTENS, **seen("connect-refused"), "n": 4},
        {"service_port": PORT, **seen("peer-reset"), "n": 3},
        {"service_port": PORT, **seen("abort-linger", truth.me["comm"]), "n": 2},
        {"service_port": API, **seen("connect-refused"), "n": 2},
        {"service_port": PORT, **seen("abort-unread", truth.me["comm"]), "n": 1},
        {"service_port": API, **seen("peer-reset"), "n": 1},
        {"service_port": API, **seen("abort-unread", "api"), "n": 1},
    ]
    assert {(row["from_addr"], row["to_addr"]) for row in rows} == {(truth.b, truth.a)}


def seen(verdict: str, process: str | None = None) -> dict[str, Any]:
    """A process is known of the RST that this host sent."""
    return {"seen": "sent" if process else "received", "process": process, "verdict": verdict}


def test_idle_before_resets(recording: Recorded) -> None:
    truth, rows = recording("How long was a connection idle before it was reset, by peer?")
    service, api = rows
    assert {row["remote_addr"] for row in rows} == {truth.b}
    assert (service["service_port"], service["resets"]) == (PORT, 3)
    assert service["most"] >= IDLE_S * 1000 - JIFFY_MS
    assert service["least"] < service["middle"] + JIFFY_MS
    assert (api["service_port"], api["resets"]) == (API, 1)


def test_which_deploy(recording: Recorded) -> None:
    truth, rows = recording("Which deploy was it?")
    assert without(rows, "first", "last") == [
        {
            "service_port": PORT,
            **truth.me,
            "connections": 10,
            "abnormal_percent": 60.0,
            "mostly": "fin-wait2-timeout",
        },
        {
            "service_port": API,
            "comm": "api",
            "pid": truth.pids[0],
            "connections": 2,
            "abnormal_percent": 0.0,
            "mostly": None,
        },
        {
            "service_port": API,
            "comm": "api",
            "pid": truth.pids[1],
            "connections": 1,
            "abnormal_percent": 100.0,
            "mostly": "abort-unread",
        },
    ]
    assert all(truth.began <= at(row["first"]) <= at(row["last"]) <= truth.ended for row in rows)


def test_what_died(recording: Recorded) -> None:
    truth, rows = recording("What died, and what went with it?")
    assert without(rows, "time") == [
        {
            "comm": "api",
            "pid": truth.pids[0],
            "cause": "SIGKILL",
            "connections": 1,
            "refused": 2,
        }
    ]
    before, after = truth.died
    assert before - CLOCK_S <= at(rows[0]["time"]) <= after + CLOCK_S


def test_who_was_refused(recording: Recorded) -> None:
    truth, rows = recording("Who was refused, where, and for how long?")
    who = {"remote_addr": truth.b, "clients": [truth.me["comm"]]}
    assert without(rows, "first", "last") == [
        {**who, "remote_port": NOBODY_LISTENS, "attempts": 4},
        {**who, "remote_port": API, "attempts": 2},
    ]
    for row, times in zip(rows, (truth.refused[:4], truth.refused[4:]), strict=True):
        assert abs(at(row["first"]) - times[0]) < CLOCK_S
        assert abs(at(row["last"]) - times[-1]) < CLOCK_S


def test_who_carries_time_wait(recording: Recorded) -> None:
    truth, rows = recording("Who carries TIME_WAIT, minute by minute?")
    assert {row["host"] for row in rows} == {socket.gethostname()}
    assert all(truth.began - 60 <= at(row["minute"]) <= truth.ended for row in rows)
    found = Counter[tuple[Any, ...]]()
    for row in rows:  # the minute may end while the load plays
        found[row["comm"], row["role"], row["service_port"]] += row["time_waits"]
    assert found == {
        (truth.me["comm"], "client", PORT): 4,
        (truth.me["comm"], "client", API): 1,
        ("api", "server", API): 1,
    }


def test_clients_that_never_close(recording: Recorded) -> None:
    truth, rows = recording("Which clients never close?")
    (row,) = rows
    assert 900 <= row.pop("waited_ms") < 10_000  # tcp_fin_timeout of one second
    assert row == {"client": truth.a, "service_port": PORT, "never_closed": 3}


def test_close_wait(recording: Recorded) -> None:
    truth, rows = recording("Which of our processes leave connections in CLOSE_WAIT?")
    (row,) = rows
    assert row.pop("longest_ms") >= CLOSE_WAIT_S * 1000
    assert row == {**truth.me, "role": "server", "service_port": PORT, "connections": 1}


def test_where_data_was_lost(recording: Recorded) -> None:
    truth, rows = recording("Where was data lost?")
    common = {"role": "server", "remote_addr": truth.a, "verdict": "abort-unread"}
    lost = {**common, "connections": 1, "unread": UNREAD, "unacked": 0}
    assert sorted(rows, key=lambda row: int(row["service_port"])) == [
        {**lost, "comm": truth.me["comm"], "service_port": PORT},
        {**lost, "comm": "api", "service_port": API},
    ]


def test_which_setting_was_changed(recording: Recorded) -> None:
    truth, rows = recording("Which setting was changed, and when?")
    (row,) = rows
    assert truth.ended <= at(row.pop("since")) < truth.ended + 10
    assert row == {
        "host": socket.gethostname(),
        "netns": truth.pair.b.netns,
        "name": "net.ipv4.tcp_fin_timeout",
        "before": 1,
        "value": 7,
    }


def test_how_far_to_believe_it(recording: Recorded) -> None:
    _, rows = recording("How far can the recording be believed?")
    assert rows == [{"what": "connections", "n": CONNECTION_ENDS}]


def test_the_service_behind_a_port_is_that_of_its_listener(recording: Recorded) -> None:
    """One listened all the time. The other lived for milliseconds: known if an end was read while it listened."""
    truth, rows = recording(
        "SELECT DISTINCT service_port, role, service FROM closes WHERE service_port < 7099 ORDER BY ALL"
    )
    of_api = [row for row in rows if (row["service_port"], row["role"]) == (API, "server")]
    assert [row for row in rows if row not in of_api] == [
        {"service_port": PORT, "role": "client", "service": None},
        {"service_port": PORT, "role": "server", "service": truth.me["comm"]},
        {"service_port": API, "role": "client", "service": None},
    ]
    (written,) = open_recordings([recording.folder])
    told = [(one.netns, one.port, one.comm) for _, one in written.heard()]
    heard = (truth.pair.b.netns, API, "api") in told
    # Connections that ended before it was heard have none.
    assert {row["service"] for row in of_api} - {None} == ({"api"} if heard else set())
    _, found = recording(
        f"SELECT comm, pid, uid, addr FROM listeners WHERE port = {PORT} AND netns = {truth.pair.b.netns}"  # noqa: S608 (ours)
    )
    assert found == [{**truth.me, "uid": 0, "addr": "0.0.0.0"}]  # noqa: S104


def test_every_question_is_tested() -> None:
    source = Path(__file__).read_text(encoding="utf-8")
    assert [question for question in QUESTIONS if f'recording("{question}")' not in source] == []
    assert len(QUESTIONS) == PAGE.read_text(encoding="utf-8").count("```sql")


def without(rows: Rows, *names: str) -> Rows:
    return [{name: row[name] for name in row if name not in names} for row in rows]


def at(text: str) -> float:
    """Seconds since 1970 of a time in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp()
