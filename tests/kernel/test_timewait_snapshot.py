# SPDX-License-Identifier: Apache-2.0
"""What sock_diag gives as an array is what ss lists, whatever states there are."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import tracemalloc
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts.benchmark.storm import Storm
from tests.kernel.kit.namespace import ip, namespace
from tracetw.host import netns, socktable
from tracetw.host.netns import Netns
from tracetw.lab.polling import eventually, patient
from tracetw.timewait.document import document
from tracetw.timewait.look import Look
from tracetw.timewait.snapshot import Snapshot, SocketKind, take

Row = tuple[str, str, str]


def listed(ns: Netns, *states: str) -> set[Row]:
    """State, local and remote end as ss prints them."""
    words = [word for state in states for word in ("state", state)]
    text = subprocess.run(
        ["ip", "netns", "exec", str(ns.name), "ss", "-Htan", *words],
        check=True,
        capture_output=True,
        text=True,
        timeout=patient(60),
    ).stdout
    rows = [line.split() for line in text.splitlines()]
    if len(states) == 1:
        return {(states[0], row[2], row[3]) for row in rows}
    return {(row[0].lower(), row[3], row[4]) for row in rows}


def ends(rows: np.ndarray[tuple[int], np.dtype[np.void]], state: str) -> set[Row]:
    """The same from the array."""

    def end(side: str) -> list[str]:
        found = []
        for address, port, family in zip(
            socktable.addresses(rows, side),
            rows[f"{side}port"].tolist(),
            rows["family"].tolist(),
            strict=True,
        ):
            shown = address
            if family == socket.AF_INET6:
                shown = f"[{address}]" if ":" in address else f"[::ffff:{address}]"
            found.append(f"{shown}:{port}")
        return found

    return {(state, local, remote) for local, remote in zip(end("l"), end("r"), strict=True)}


def rows_of(snapshot: Snapshot, kind: SocketKind) -> np.ndarray[tuple[int], np.dtype[np.void]]:
    found: np.ndarray[tuple[int], np.dtype[np.void]] = snapshot.sockets[snapshot.kinds == kind]
    return found


def close_first(family: socket.AddressFamily, address: str, count: int) -> None:
    with socket.create_server((address, 0), family=family, backlog=count) as server:
        for _ in range(count):
            with socket.socket(family) as client:
                client.connect((address, server.getsockname()[1]))
                served = server.accept()[0]
            served.close()


def test_every_time_wait_is_there_in_both_families(ns: Netns) -> None:
    """IPv4, IPv6 and IPv4-mapped ones, more than a datagram of the dump holds."""
    with netns.inside(ns) as run:
        run(lambda: close_first(socket.AF_INET, "127.0.0.1", 400))
        run(lambda: close_first(socket.AF_INET6, "::1", 400))
        run(_mapped)
    found = rows_of(take(ns.inode), SocketKind.TIME_WAIT)
    assert len(found) == 810
    assert ends(found, "time-wait") == listed(ns, "time-wait")
    assert ((found["expires"] > 30_000) & (found["expires"] <= 60_000)).all()


def _mapped() -> None:
    with socket.socket(socket.AF_INET6) as server:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        server.bind(("::", 0))
        server.listen()
        for _ in range(10):
            with socket.socket(socket.AF_INET6) as client:
                client.connect(("::ffff:127.0.0.1", server.getsockname()[1]))
                served = server.accept()[0]
            served.close()


def test_states_and_owners_are_told_apart(ns: Netns) -> None:
    """A listener, a bound socket, an orphan in FIN_WAIT2, one that its process holds, open ones."""
    with netns.inside(ns) as run:
        server = run(lambda: socket.create_server(("127.0.0.1", 0)))
        address = server.getsockname()
        bound = run(socket.socket)
        bound.bind(("127.0.0.1", 0))
        orphan, held, open_ = (run(lambda: socket.create_connection(address)) for _ in range(3))
    served = [server.accept()[0] for _ in range(3)]
    held.shutdown(socket.SHUT_WR)
    orphan.close()
    try:
        eventually(lambda: len(rows_of(take(ns.inode), SocketKind.FIN_WAIT2_ORPHAN)) == 1, 5)
        snapshot = take(ns.inode)
        look = Look(snapshot)
        kinds = dict(zip(*np.unique(snapshot.kinds, return_counts=True), strict=True))
        # Open: one client, and the server's side of all three (one in ESTABLISHED, two in CLOSE_WAIT).
        assert kinds == {
            SocketKind.LIVE: 4,
            SocketKind.FIN_WAIT2_ORPHAN: 1,
            SocketKind.FIN_WAIT2_OWNED: 1,
            SocketKind.LISTEN: 1,
            SocketKind.BOUND: 1,
        }
        [row] = rows_of(snapshot, SocketKind.FIN_WAIT2_OWNED)
        owner = look.owners.of_inode(int(row["inode"]))
        assert owner is not None
        assert owner.how == "holds"
        assert row["lport"] == held.getsockname()[1]
        assert [note.code for note in look.notes] == ["fin-wait2-owned"]
        assert listed(ns, "fin-wait-2") == {
            *ends(rows_of(snapshot, SocketKind.FIN_WAIT2_OWNED), "fin-wait-2"),
            *ends(rows_of(snapshot, SocketKind.FIN_WAIT2_ORPHAN), "fin-wait-2"),
        }
    finally:
        for each in (server, bound, held, open_, *served):
            each.close()


def test_orphans_and_what_they_could_not_send(ns: Netns) -> None:
    """Data and FIN towards a peer that answers nothing: FIN_WAIT1 without an owner."""
    name = str(ns.name)
    with netns.inside(ns) as run:
        server = run(lambda: socket.create_server(("127.0.0.1", 0)))
        client = run(lambda: socket.create_connection(server.getsockname()))
    served = server.accept()[0]
    ip("netns", "exec", name, "nft", "add", "table", "inet", "t")
    ip(
        *("netns", "exec", name, "nft", "add", "chain", "inet", "t", "c"),
        "{ type filter hook input priority 0 ; policy drop ; }",
    )
    client.sendall(b"x" * 1000)
    client.close()
    look = Look(take(ns.inode))
    [row] = rows_of(look.snapshot, SocketKind.FIN_WAIT1_ORPHAN)
    assert row["wqueue"] == 1001
    [note] = [each for each in look.notes if each.code == "orphans"]
    assert (
        "1,000 bytes before it that are not acknowledged, 0 of which were never sent" in note.text
    )
    [stuck] = document(look, 1)["stuck"]
    assert (stuck["state"], stuck["orphan"]) == ("FIN_WAIT1", True)
    assert (stuck["bytes_unacked"], stuck["bytes_unsent"]) == (1000, 0)
    served.close()
    server.close()


def test_what_a_closed_window_keeps_from_being_sent(ns: Netns) -> None:
    with netns.inside(ns) as run:
        server = run(lambda: socket.create_server(("127.0.0.1", 0)))
        client = run(lambda: socket.create_connection(server.getsockname()))
    served = server.accept()[0]
    client.setblocking(False)
    sent = 0
    with suppress(BlockingIOError):
        while True:
            sent += client.send(b"x" * 10_000)
    client.close()

    def stuck() -> dict[str, Any]:
        rows: list[dict[str, Any]] = document(Look(take(ns.inode)), 1)["stuck"]
        return rows[0]

    eventually(lambda: stuck()["bytes_unacked"] == stuck()["bytes_unsent"], 5)
    assert 0 < stuck()["bytes_unsent"] < sent
    served.close()
    server.close()


def test_all_namespaces_and_one_that_cannot_be_entered(ns: Netns) -> None:
    with namespace() as other:
        with netns.inside(other) as run:
            run(lambda: close_first(socket.AF_INET, "127.0.0.1", 3))
        with netns.inside(ns) as run:
            run(lambda: close_first(socket.AF_INET, "127.0.0.1", 2))
        snapshot = take()
        waits = snapshot.sockets["netns"][snapshot.kinds == SocketKind.TIME_WAIT]
        assert (waits == ns.inode).sum() == 2
        assert (waits == other.inode).sum() == 3
        script = "from tracetw.timewait.snapshot import take; s = take(); print(*s.unread)"
        command = [
            "setpriv",
            "--bounding-set=-all",
            "--inh-caps=-all",
            "--reuid=65534",
            "--clear-groups",
        ]
        told = subprocess.run(
            [*command, sys.executable, "-c", script],
            check=True,
            capture_output=True,
            text=True,
            cwd=Path(__file__).parents[2],
            timeout=patient(60),
        ).stdout
        assert {str(ns.inode), str(other.inode)} <= set(told.split())


def test_mixed_sizes_of_messages_are_all_found(ns: Netns) -> None:
    """Full sockets and timewait sockets have messages of different sizes in one dump."""
    with netns.inside(ns) as run:
        server = run(lambda: socket.create_server(("127.0.0.1", 0), backlog=400))
        clients = [run(lambda: socket.create_connection(server.getsockname())) for _ in range(300)]
        served = [server.accept()[0] for _ in clients]
        for each, its in list(zip(clients, served, strict=True))[::2]:
            each.close()
            its.close()
        array = run(lambda: socktable.here(ns.inode))
    listed = ["ip", "netns", "exec", str(ns.name), "ss", "-tanH"]
    told = subprocess.run(listed, capture_output=True, text=True, check=True).stdout
    ports = sorted(int(line.split()[3].rpartition(":")[2]) for line in told.splitlines())
    assert sorted(array["lport"].tolist()) == ports
    held = {os.fstat(each.fileno()).st_ino for each in (server, *clients[1::2], *served[1::2])}
    assert {*array["inode"].tolist()} - {0} == held
    for each in (server, *clients, *served):
        each.close()


def test_buckets_and_the_table_belong_to_a_namespace(ns: Netns) -> None:
    """tcp_child_ehash_entries gives the next namespace a table of its own, and fewer buckets with it."""
    name = str(ns.name)
    entries = "net.ipv4.tcp_child_ehash_entries"
    ip(
        "netns",
        "exec",
        name,
        "sysctl",
        "-q",
        "-w",
        f"{entries}=512",
        "net.ipv4.tcp_max_tw_buckets=60",
    )
    shell = ["unshare", "-n", "sh", "-c", "readlink /proc/self/ns/net; exec cat"]
    with subprocess.Popen(
        ["ip", "netns", "exec", name, *shell],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        inode = int(child.stdout.readline().strip().removeprefix("net:[").removesuffix("]"))
        settings = take(inode).spaces[inode].settings
        child.communicate()
    assert (settings.own_table, settings.table_entries, settings.max_tw_buckets) == (True, 512, 256)
    with netns.inside(ns) as run:
        run(lambda: close_first(socket.AF_INET, "127.0.0.1", 59))
        look = Look(take(ns.inode))
        settings = look.snapshot.spaces[ns.inode].settings
        assert settings.own_table is False
        assert (settings.tw_buckets_used, settings.max_tw_buckets) == (59, 60)
        assert "59 of 60 TIME_WAIT buckets" in next(
            n.text for n in look.notes if n.code == "buckets"
        )
        ip("netns", "exec", name, "sysctl", "-q", "-w", "net.ipv4.tcp_max_tw_buckets=600")
        assert not [n for n in Look(take(ns.inode)).notes if n.code == "buckets"]


def test_100_000_as_fast_as_ss_and_the_same(ns: Netns, storm: Storm) -> None:
    """In one run and in turn: within 1.5 times of ss, which writes them to /dev/null, and equal to it."""
    enter = ["ip", "netns", "exec", str(ns.name)]
    settings = ("tcp_max_tw_buckets=200000", "ip_local_port_range=1024 65535")
    ip(*enter[1:], "sysctl", "-q", "-w", *(f"net.ipv4.{each}" for each in settings))
    made = [*enter, *storm.command(100_000, "timewait")]
    subprocess.run(made, check=True, stdout=subprocess.DEVNULL, timeout=patient(120))
    ss, ours = [], []
    with netns.inside(ns) as run:
        for _ in range(5):
            begun = time.perf_counter()
            subprocess.run(
                [*enter, "ss", "-tan", "state", "time-wait"],
                check=True,
                stdout=subprocess.DEVNULL,
                timeout=patient(60),
            )
            between = time.perf_counter()
            found = run(lambda: socktable.here(ns.inode))
            ours.append(time.perf_counter() - between)
            ss.append(between - begun)
    assert len(found) == 100_000
    assert ends(found, "time-wait") == listed(ns, "time-wait")
    assert min(ours) <= 1.5 * min(ss), (ours, ss)
    tracemalloc.start()
    try:
        document(Look(take(ns.inode)), 1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= 250 * len(found), peak / len(found)


@pytest.mark.long
def test_1_000_000_within_250_bytes_each(ns: Netns, storm: Storm) -> None:
    """The command's whole work on a million real ones, made faster than the 60 s that each lasts."""
    enter = ["ip", "netns", "exec", str(ns.name)]
    settings = ("tcp_max_tw_buckets=1200000", "ip_local_port_range=1024 65535")
    ip(*enter[1:], "sysctl", "-q", "-w", *(f"net.ipv4.{each}" for each in settings))
    begun = time.monotonic()
    made = [*enter, *storm.command(1_000_000, "timewait")]
    subprocess.run(made, check=True, stdout=subprocess.DEVNULL, timeout=patient(300))
    took = time.monotonic() - begun
    assert took < 55, (
        f"the load took {took:.0f} s: the first TIME_WAIT are over before the last began"
    )
    tracemalloc.start()
    try:
        snapshot = take(ns.inode)
        document(Look(snapshot), 1)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    waiting = int((snapshot.kinds == SocketKind.TIME_WAIT).sum())
    assert waiting > 999_000
    assert peak <= 250 * waiting, peak / waiting
