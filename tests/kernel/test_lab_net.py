# SPDX-License-Identifier: Apache-2.0
"""What scenarios are made of: hosts, cables, a router, faults, captures."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracetw.lab.net.capture import Capture
from tracetw.lab.net.fault import DATA, FINS, held, no_doubling
from tracetw.lab.net.host import NETNS_DIR, PORT, SYSCTLS
from tracetw.lab.net.peer import Peer
from tracetw.lab.net.topology import Net
from tracetw.lab.net.wire import read
from tracetw.lab.polling import NotPlayed, eventually, fails


@pytest.mark.parametrize("family", [4, 6])
def test_router_translates(family: int) -> None:
    with Net(family, nat=True) as net:
        link = net.connect()
        assert link.a.getsockname()[0] == net.a.addresses[family]
        assert link.b.getpeername()[0] == net.seen_by_b[family] != net.a.addresses[family]
        other = net.a.addresses[family].removesuffix("1") + "2"
        second = net.client()
        second.bind((other, 0))
        second.connect(net.server)
        accepted, peer = link.listener.accept()
        net.keep(accepted)
        assert peer[0] == net.seen_by_b[family]


def test_hosts_go_with_their_context() -> None:
    with Net() as net:
        names = [host.name for host in net.hosts.values()]
        assert all((NETNS_DIR / name).exists() for name in names)
    assert not any((NETNS_DIR / name).exists() for name in names)


def test_what_a_play_raises_undoes_all() -> None:
    with pytest.raises(NotPlayed), Net() as net, fails(ConnectionRefusedError):
        net.connect()
    assert not (NETNS_DIR / net.a.name).exists()


def test_settings_are_its_own() -> None:
    with Net() as net, net.a.entered():
        values = {name: Path("/proc/sys/net/ipv4", name).read_text() for name in SYSCTLS}
    assert {name: int(value) for name, value in values.items()} == SYSCTLS


def test_drop_counts_what_it_loses() -> None:
    with Net() as net:
        link = net.connect()
        drop = net.drop(net.b, FINS)
        link.a.close()
        assert eventually(drop.packets) >= 1
        drop.lift()
        drop.lift()
        assert link.b.recv(1) == b""


@pytest.mark.parametrize("family", [4, 6])
def test_held_packets_leave_in_order(family: int) -> None:
    with Net(family) as net:
        link = net.connect()
        with held(net.a, net.b, family):
            for text in (b"one", b"two", b"three"):
                link.a.sendall(text)
            link.b.settimeout(0)
            with pytest.raises(BlockingIOError):
                link.b.recv(100)
        link.b.settimeout(5)
        received = b""
        while len(received) < 11:
            received += link.b.recv(100)
        assert received == b"onetwothree"


@pytest.mark.parametrize("family", [4, 6])
def test_what_is_doubled_arrives_twice(family: int) -> None:
    missing = no_doubling()
    if missing:
        pytest.skip(missing)
    with Net(family) as net:
        peer = Peer(net, net.a, net.b)
        link = net.connect()
        drop = net.duplicate(net.a, net.b, DATA)
        link.a.sendall(b"hello")
        assert link.b.recv(100) == b"hello"
        eventually(lambda: sum("P" in s.flags for s in peer.heard()) == 2)
        drop.lift()
        link.a.sendall(b"again")
        assert link.b.recv(100) == b"again"
        assert sum("P" in segment.flags for segment in peer.heard()) == 3


@pytest.mark.parametrize("family", [4, 6])
def test_a_segment_is_repeated_as_it_was(family: int) -> None:
    with Net(family) as net:
        peer = Peer(net, net.a, net.b)
        with pytest.raises(NotPlayed, match="repeated"):
            peer.repeat("F")
        link = net.connect()
        link.a.sendall(b"hello")
        assert link.b.recv(100) == b"hello"
        peer.repeat("P")
        # Told as a duplicate, not dropped for its checksum.
        eventually(lambda: net.b.counters()["TCPDSACKOldSent"] == 1)
        assert net.b.counters()["InCsumErrors"] == 0


def test_a_frozen_process_runs_no_more() -> None:
    with Net() as net:
        process = net.actor(net.b, "frozen")
        process.listen()
        process.freeze()
        process.order("close_listener")
        end = net.client()
        end.connect(net.server)
        process.thaw()
        process.answer()
        with fails(ConnectionResetError):
            end.recv(1)


@pytest.mark.parametrize("family", [4, 6])
def test_capture_is_read_by_scapy(family: int, tmp_path: Path) -> None:
    with Net(family) as net, Capture(net.b) as capture:
        link = net.connect()
        link.a.sendall(b"hello")
        assert link.b.recv(100) == b"hello"
        capture.save(tmp_path / "x.pcap")
        segments = read(tmp_path / "x.pcap")
    assert [segment.flags for segment in segments[:3]] == [{"SYN"}, {"SYN", "ACK"}, {"ACK"}]
    (data,) = (segment for segment in segments if segment.payload)
    assert (data.direction, data.seq, data.payload) == ("A>B", 1, 5)
    assert data.ports[1] == PORT
