# SPDX-License-Identifier: Apache-2.0
"""``tracetw timewait`` on real sockets: its JSON, its sentences, its exit codes."""

from __future__ import annotations

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.kit.namespace import ip
from tracetw import isolated
from tracetw.host import netns
from tracetw.host.netns import Netns
from tracetw.lab.polling import patient
from tracetw.timewait.note import CODES

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "timewait.md"
HOSTILE = "a\x1b[2Jb\n\u202ec"


def timewait(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        isolated.command("tracetw", "timewait", *words),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        timeout=patient(60),
    )


def document(ns: Netns, *words: str) -> dict[str, Any]:
    done = timewait("--netns", str(ns.inode), "-o", "json", *words)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def texts(found: dict[str, Any], code: str) -> list[str]:
    return [note["text"] for note in found["notes"] if note["code"] == code]


def close(server: socket.socket, count: int, *, first: str) -> None:
    """Connections to a server on loopback, closed first by the ``client`` or the ``server``."""
    for _ in range(count):
        with socket.socket() as client:
            client.connect(server.getsockname())
            served = server.accept()[0]
            for each in (client, served) if first == "client" else (served, client):
                each.close()


@contextmanager
def listening(ns: Netns, port: int = 0) -> Iterator[tuple[socket.socket, netns.NamespaceRunner]]:
    with netns.inside(ns) as run:
        server = run(lambda: socket.create_server(("127.0.0.1", port), backlog=64))
        with server:
            yield server, run


def test_a_server_that_closes_first(ns: Netns) -> None:
    with listening(ns, 8080) as (server, run):
        run(lambda: close(server, 60, first="server"))
        found = document(ns)
    assert (
        found["by_port"][0] | {"time_wait": 60, "direction": "in", "listens": True}
        == found["by_port"][0]
    )
    assert found["by_owner"][0]["owner_from"] == "listens"
    [text] = texts(found, "server-closes-first")
    assert "port 8080" in text
    assert "carries 60 TIME_WAIT" in text
    assert "tcp_tw_reuse does not help a server" in texts(found, "reuse")[0]
    assert "4.12" in texts(found, "recycle")[0]
    assert "not known without a trace" in texts(found, "why")[0]
    assert not texts(found, "client-closes-first") + texts(found, "blocks-listen")


def test_a_client_that_closes_first(ns: Netns) -> None:
    ip("-n", str(ns.name), "addr", "add", "10.77.0.1/32", "dev", "lo")
    with netns.inside(ns) as run:
        server = run(lambda: socket.create_server(("10.77.0.1", 8080), backlog=64))
        run(lambda: close(server, 60, first="client"))
    with server:
        found = document(ns)
    assert found["by_port"][0]["direction"] == "out"
    assert "10.77.0.1 port 8080" in texts(found, "client-closes-first")[0]
    assert not texts(found, "server-closes-first") + texts(found, "recycle")
    assert "with 1 connect() could take these ports over after 1 s" in texts(found, "reuse")[0]
    assert "does not check RST" in texts(found, "reuse")[0]
    ip("netns", "exec", str(ns.name), "sysctl", "-q", "-w", "net.ipv4.tcp_timestamps=0")
    assert "needs net.ipv4.tcp_timestamps" in texts(document(ns), "reuse")[0]


def test_few_are_no_sentence(ns: Netns) -> None:
    with listening(ns, 8080) as (server, run):
        run(lambda: close(server, 5, first="server"))
        assert document(ns)["notes"] == []


def test_check_ends_with_4(ns: Netns) -> None:
    settings = "net.ipv4.ip_local_port_range=40000 40019"
    ip("netns", "exec", str(ns.name), "sysctl", "-q", "-w", settings, "net.ipv4.tcp_tw_reuse=0")
    check = ("--netns", str(ns.inode), "--check")
    with listening(ns, 8080) as (server, run):
        run(lambda: close(server, 3, first="server"))
        assert timewait(*check, "5").returncode == 0
        run(lambda: close(server, 12, first="client"))
        done = timewait(*check, "5", "-o", "json")
        assert done.returncode == 4
        first = json.loads(done.stdout)["forecast"][0]
        assert 0 <= first["exhausted_in_s"] < 60
        assert timewait("--netns", str(ns.inode)).returncode == 0
        with pytest.raises(OSError, match="Cannot assign requested address"):
            run(lambda: close(server, 20, first="client"))
    done = timewait(*check, "0")
    assert done.returncode == 4
    assert "connect() fails with EADDRNOTAVAIL" in " ".join(done.stdout.split())


def listen(run: netns.NamespaceRunner, port: int) -> None:
    """As servers do, with SO_REUSEADDR."""
    run(lambda: socket.create_server(("127.0.0.1", port))).close()


def test_an_outgoing_connection_blocks_a_listener(ns: Netns) -> None:
    """Its TIME_WAIT has no SO_REUSEADDR; a server's has it from its listener and blocks nobody with it."""
    with listening(ns, 8080) as (server, run):
        run(lambda: close(server, 1, first="client"))
        [port] = [row["local"]["port"] for row in document(ns)["by_port"]]
        with pytest.raises(OSError, match="Address already in use"):
            listen(run, port)
        [text] = texts(document(ns, "--listen", str(port)), "blocks-listen")
        assert "1 of outgoing connections" in text
        assert "EADDRINUSE for " in text
        [text] = texts(document(ns, "--listen", "8080"), "blocks-listen")
        assert text.startswith("A listener of ")
        run(lambda: close(server, 1, first="server"))
    with netns.inside(ns) as run:
        [text] = texts(document(ns, "--listen", "8080"), "blocks-listen")
        assert "unless SO_REUSEADDR is set on it and was set on them" in text
        assert "outgoing" not in text
        listen(run, 8080)
        # Without being asked: a port outside of the range and without a listener.
        assert "port 8080" in texts(document(ns), "blocks-listen")[0]
    assert texts(document(ns, "--listen", "81"), "blocks-listen") == [
        "No socket that can be seen has port 81."
    ]


def test_names_of_strangers_reach_no_terminal(ns: Netns) -> None:
    hold = (
        f"import socket; open('/proc/self/comm', 'w').write({HOSTILE!r});"
        "one = socket.create_server(('127.0.0.1', 8080)); print('held', flush=True)\n"
        "for _ in range(3):\n"
        "    client = socket.create_connection(('127.0.0.1', 8080)); one.accept()[0].close(); client.close()\n"
        "print('closed', flush=True); input()"
    )
    with subprocess.Popen(
        ["ip", "netns", "exec", str(ns.name), sys.executable, "-c", hold],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        assert [holder.stdout.readline() for _ in range(2)] == ["held\n", "closed\n"]
        for form in ("table", "wide", "json"):
            shown = timewait("--netns", str(ns.inode), "-o", form).stdout
            assert "\x1b" not in shown
            assert "\u202e" not in shown
        assert document(ns)["by_owner"][0]["comm"] == HOSTILE
        holder.communicate("\n")


def test_mistakes_are_one_line() -> None:
    for words, code in (
        (("--netns", "nowhere"), 2),
        (("--listen", "0"), 2),
        (("--check", "-1"), 2),
        (("--top", "0"), 2),
    ):
        done = timewait(*words)
        assert done.returncode == code
        assert done.stderr.count("\n") == 1


def paths(value: Any, at: str = "") -> Iterator[str]:
    """Fields of a document as docs/timewait.md writes them."""
    if isinstance(value, dict):
        for name, each in value.items():
            yield from paths(each, f"{at}.{name}" if at else name)
    elif isinstance(value, list):
        yield f"{at}[]"
        for each in value:
            yield from paths(each, f"{at}[]")
    else:
        yield at


def test_every_field_is_documented(ns: Netns) -> None:
    with listening(ns, 8080) as (server, run):
        run(lambda: close(server, 60, first="client"))
        client = run(lambda: socket.create_connection(server.getsockname()))
        client.shutdown(socket.SHUT_WR)
        with client, server.accept()[0]:
            found = {*paths(document(ns))}
    table = set(
        re.findall(r"^\| `([\w.\[\]]+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    )
    fields = table - set(CODES)
    counts = {name.partition(".")[2] for name in fields if name.startswith("sockets.")}
    for name in sorted(found):
        parent, _, last = name.rpartition(".")
        if parent == "omitted" or last in counts or last in {"netns", "netns_name", "seconds_left"}:
            continue
        assert name in fields, name
    leaves = {name for name in fields if not name.endswith("[]") and not name.startswith("unread")}
    nested = {name for name in leaves if any(other.startswith(f"{name}.") for other in fields)}
    empty = {"carriers.first_close", "carriers.closed_by", "carriers.verdicts", "omitted"}
    assert leaves - nested - empty <= found
    assert set(
        re.findall(
            r"^\| `([a-z0-9]+(?:-[a-z0-9]+)*)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE
        )
    ) >= set(CODES)
