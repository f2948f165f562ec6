# SPDX-License-Identifier: Apache-2.0
"""The agent of a machine, at the other end of a pipe instead of ssh: real sockets, real programs."""

from __future__ import annotations

import errno
import io
import signal
import socket
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tracetw.lab.polling import NotPlayed
from tracetw.lab.vagrant import agent
from tracetw.lab.vagrant.remote import Elsewhere, RemoteActor, RemoteSocket
from tracetw.lab.vagrant.ssh import MachineLost, Way


@pytest.fixture
def way() -> Iterator[Way]:
    made = Way("here", [sys.executable, "-I", "-S", agent.__file__])
    yield made
    made.close()


def remote(way: Way) -> RemoteSocket:
    return RemoteSocket(way, way.ask("socket", socket.AF_INET, socket.SOCK_STREAM, 0))


@pytest.mark.parametrize("value", [b"\0\xff", [b"a", 1, None], "text", [["deep", b"x"]]])
def test_what_json_cannot_hold_arrives(value: object) -> None:
    assert agent.decoded(agent.encoded(value)) == value


def test_a_connection_between_sockets_of_the_agent(way: Way) -> None:
    listener, client = remote(way), remote(way)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    client.settimeout(5.0)
    client.connect(listener.getsockname())
    server, peer = listener.accept()
    assert peer == client.getsockname()
    client.sendall(b"hello\0\xff")
    assert server.recv(100) == b"hello\0\xff"
    server.close()
    assert client.recv(1) == b""
    assert client.gettimeout() == 5.0
    client.close()
    client.close()


def test_errors_are_those_of_the_kernel_there(way: Way) -> None:
    nobody = remote(way)
    unused = remote(way)
    unused.bind(("127.0.0.1", 0))
    with pytest.raises(ConnectionRefusedError):
        nobody.connect(unused.getsockname())
    again = remote(way)
    assert again.connect_ex(unused.getsockname()) == errno.ECONNREFUSED


def test_a_timeout_of_ours_has_no_number(way: Way) -> None:
    listener = remote(way)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    listener.settimeout(0.05)
    with pytest.raises(TimeoutError) as caught:
        listener.accept()
    assert caught.value.errno is None


def test_who_waits_hinders_nobody(way: Way) -> None:
    listener, client = remote(way), remote(way)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1)
    waiting = threading.Thread(target=listener.accept)
    waiting.start()
    client.connect(listener.getsockname())
    waiting.join(10)
    assert not waiting.is_alive()


def test_what_needs_a_descriptor_here_is_refused(way: Way) -> None:
    with pytest.raises(Elsewhere):
        remote(way).fileno()


def test_programs_and_files(way: Way, tmp_path: Path) -> None:
    assert way.ask("run", ["cat"], "text") == [0, "text", ""]
    assert way.ask("run", ["sh", "-c", "echo no >&2; exit 3"], "") == [3, "", "no\n"]
    way.ask("store", str(tmp_path / "file"), "content")
    assert way.ask("read", str(tmp_path / "file")) == ["content"]
    assert way.ask("names", str(tmp_path)) == ["file"]
    with tarfile.open(fileobj=io.BytesIO(way.ask("pack", str(tmp_path)))) as archive:
        assert [member.name.rpartition("/")[2] for member in archive if member.isfile()] == ["file"]
    with pytest.raises(FileNotFoundError):
        way.ask("read", str(tmp_path / "none"))
    with pytest.raises(NotPlayed, match="AttributeError"):
        way.ask("no_such_verb")


def test_it_ends_with_its_way_and_so_does_what_it_started(way: Way) -> None:
    number, pid = way.ask("spawn", ["sleep", "60"])
    # Not with the thread that started it, either.
    assert way.ask("wait", number, 0.3) == [None, ""]
    way.close()
    end = time.monotonic() + 10
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(MachineLost):
        way.ask("hello")


def test_a_machine_that_vanishes_is_lost_and_not_waited_for(way: Way) -> None:
    with pytest.raises(MachineLost):
        way.ask("signal", way.ask("hello")["pid"], int(signal.SIGKILL))


def test_no_agent_at_the_other_end() -> None:
    made = Way("here", ["sh", "-c", "echo 'sudo: a password is required' >&2; echo no json"])
    try:
        with pytest.raises(MachineLost, match="does not answer"):
            made.ask("hello")
    finally:
        made.close()


def test_an_actor_of_the_agent(way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = Path(agent.__file__).parents[3]
    monkeypatch.setattr("tracetw.lab.vagrant.remote.CHECKOUT", str(checkout))
    with RemoteActor("an-actor", way) as actor:
        actor.listen(4, 0)
        assert actor.do("linger", 0, 0) is None
        actor.freeze()
        actor.thaw()
        actor.order("exit", 7)
        assert actor.wait() == 7


def test_settings_come_back_also_those_of_an_agent_that_was_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "_BEFORE", tmp_path / "before")
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("1\n", encoding="ascii")
    two.write_text("2\n", encoding="ascii")
    first, second = agent.Agent(), agent.Agent()
    first.set({str(one): "10\n"})
    first.set({str(one): "11\n", str(two): "20\n"})
    assert (one.read_text(), two.read_text()) == ("11\n", "20\n")
    second.restore()
    assert (one.read_text(), two.read_text()) == ("1\n", "2\n")
    one.write_text("5\n", encoding="ascii")
    second.restore()
    assert one.read_text() == "5\n"
