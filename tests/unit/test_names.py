# SPDX-License-Identifier: Apache-2.0
"""What is known of addresses and ports without asking anybody: /etc/hosts, units, listeners."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.unit.report_rows import NETNS, Memory, connections
from tracetw.host import hosts, netns
from tracetw.host.bound import Bound, Holders, bound
from tracetw.host.cgroup import unit
from tracetw.host.listening import MOST_LISTENERS, Listening
from tracetw.replay.source import context_of
from tracetw.stream.batch import Ends
from tracetw.stream.filter import Filter
from tracetw.stream.stages import Stages


def test_hosts(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_bytes(
        b"# a comment\n127.0.0.1 localhost loop\n10.0.0.5\tdb db.example # the database\n"
        b"10.0.0.5 other\n::1 ip6-localhost\n::ffff:10.0.0.6 mapped\n10.0.0.7\nnonsense name\n"
        b"10.0.0.8 \x1b[2J\xff\n"
    )
    assert hosts.read(file) == {
        "127.0.0.1": "localhost",
        "10.0.0.5": "db",
        "::1": "ip6-localhost",
        "10.0.0.6": "mapped",
        "10.0.0.8": "\x1b[2J\\xff",
    }


def test_hosts_are_bounded(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    assert hosts.read(file) == {}
    lines = (f"10.{n >> 16}.{n >> 8 & 255}.{n & 255} h{'x' * 300}\n" for n in range(hosts.MOST + 9))
    file.write_text("".join(lines))
    found = hosts.read(file)
    assert len(found) <= hosts.MOST
    assert max(len(name) for name in found.values()) == 255


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/system.slice/nginx.service", "nginx.service"),
        ("/system.slice/system-getty.slice/getty@tty1.service", "getty@tty1.service"),
        ("/user.slice/user-0.slice/user@0.service/app.slice/x.scope", "user@0.service"),
        ("/system.slice/docker-0123456789ab.scope", "docker-0123456789ab.scope"),
        ("/system.slice/_memory.service", "memory.service"),
        ("/init.scope", "init.scope"),
        ("/kubepods/pod1/abc", None),
        ("/", None),
        (None, None),
    ],
)
def test_units(path: str | None, wanted: str | None) -> None:
    assert unit(path) == wanted


def test_a_listener_is_found_with_its_process() -> None:
    comm = Path("/proc/self/comm").read_text(encoding="utf-8").strip()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        here = netns.current()
        holders = Holders()
        for _ in range(2):  # the second time nothing is looked up
            (found,) = [one for one in holders.of({here: bound()}) if one.port == port]
            assert (found.netns, found.address, found.pid) == (here, "127.0.0.1", os.getpid())
            assert (found.comm, found.uid) == (comm, os.geteuid())
    assert port not in {one.port for one in holders.of({here: bound()})}


def test_a_listener_that_nobody_holds_has_no_process() -> None:
    (found,) = Holders().of({7: [Bound("0.0.0.0", 80, 1)]})  # noqa: S104 (an address in a table)
    assert found == Listening(7, "0.0.0.0", 80)  # noqa: S104


def test_listeners_are_bounded() -> None:
    many = [Bound("::", 80, 0)] * (MOST_LISTENERS + 1)
    assert len(Holders().of({7: many})) == MOST_LISTENERS


def table(rows: np.ndarray, *listeners: Listening, **names: str) -> list[dict[str, Any]]:
    pytest.importorskip("pyarrow")
    from tracetw.query.columns import closes_table  # noqa: PLC0415 (needs pyarrow)

    recording = Memory(rows)
    recording.header = replace(recording.header, listeners=listeners, host_names=names)
    stages = Stages(context_of(recording), Filter())
    part = stages.closes(Ends(rows, recording.clock))
    known = stages.context.known
    found: list[dict[str, Any]] = closes_table(recording, part, known).to_pylist()
    return found


def services(rows: np.ndarray, *listeners: Listening) -> list[str | None]:
    return [row["service"] for row in table(rows, *listeners)]


def test_the_service_of_a_port() -> None:
    served = connections("peer-reset", [1.0], lport=443, rport=5000, server=True)
    outside = connections("peer-reset", [1.0], lport=5000, rport=443)
    inside = connections("peer-reset", [1.0], local="127.0.0.1", remote="127.0.0.2", rport=443)
    nginx = Listening(NETNS, "::", 443, 1, "nginx", 0)
    for rows, wanted in ((served, ["nginx"]), (outside, [None]), (inside, ["nginx"])):
        assert services(rows, nginx) == wanted
    assert services(served, nginx._replace(netns=1)) == [None]
    assert services(served, nginx._replace(port=80)) == [None]
    assert services(served, nginx, nginx._replace(pid=2)) == ["nginx"]
    assert services(served, nginx, nginx._replace(comm="caddy")) == [None]
    assert services(served, nginx._replace(comm=None)) == [None]


def test_names_of_addresses() -> None:
    rows = connections("peer-reset", [1.0], remote="10.1.2.3")
    (row,) = table(rows, **{"10.1.2.3": "db"})
    assert (row["local_name"], row["remote_name"]) == (None, "db")
