# SPDX-License-Identifier: Apache-2.0
"""What ``tracetw top`` says of sockets that fail now, against what the kernel then does with them."""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.kernel.kit.tmux import screen
from tracetw.host import netns
from tracetw.lab.net.topology import Link, Net
from tracetw.lab.polling import eventually
from tracetw.top.failing_now import Failing, Owners, look

HZ = round(1 / time.clock_getres(6))  # CLOCK_MONOTONIC_COARSE
SLACK_S = 0.3


@pytest.fixture
def pair() -> Iterator[Net]:
    with Net() as made:
        yield made


def connected(pair: Net) -> Link:
    """A connection whose listener has gone: the next one may have its port."""
    link = pair.connect()
    link.listener.close()
    return link


def found(port: int) -> Failing | None:
    """The connection with this local port, if it fails."""
    rows = look(Owners(), HZ)
    return next((row for row in rows if row.local[1] == port), None)


def fails(port: int, tries: int = 0) -> Failing:
    """The same once it has been tried so often."""

    row: list[Failing] = eventually(
        lambda: [
            each
            for each in look(Owners(), HZ)
            if each.local[1] == port and each.info.tries >= tries
        ],
        20,
    )
    return row[0]


def port_of(link: Link) -> int:
    return int(link.a.getsockname()[1])


@pytest.mark.parametrize(("retries2", "after"), [(3, 2), (5, 3)])
def test_data_is_given_up_when_it_says(pair: Net, retries2: int, after: int) -> None:
    pair.a.sysctl(tcp_retries2=retries2)
    link = pair.connect()
    pair.drop(pair.b)
    link.a.sendall(b"nobody hears it")
    row = fails(port_of(link), after)
    begin = time.monotonic()
    assert (row.what, row.info.inode) == ("retransmits", os.fstat(link.a.fileno()).st_ino)
    assert row.left is not None
    link.a.setblocking(False)
    poll = select.poll()
    poll.register(link.a, select.POLLERR)
    assert poll.poll(1000 * (row.left.most_s + 10))
    took = time.monotonic() - begin
    assert 0.9 * row.left.least_s - SLACK_S <= took <= 1.1 * row.left.most_s + SLACK_S
    assert found(port_of(link)) is None


def test_an_orphan_is_given_up_when_it_says(pair: Net) -> None:
    pair.a.sysctl(tcp_orphan_retries=2)
    link = pair.connect()
    pair.drop(pair.b)
    port = port_of(link)
    link.a.close()
    row = fails(port, 1)
    begin = time.monotonic()
    assert (row.what, row.info.inode, row.owner) == ("retransmits", 0, "")
    assert row.left is not None
    eventually(lambda: found(port) is None, row.left.most_s + 10)
    took = time.monotonic() - begin
    assert 0.9 * row.left.least_s - SLACK_S <= took <= 1.1 * row.left.most_s + SLACK_S


def test_connecting_is_given_up_when_it_says(pair: Net) -> None:
    pair.a.sysctl(tcp_syn_retries=1, tcp_syn_linear_timeouts=1)
    pair.drop(pair.b)
    client = pair.client()
    client.setblocking(False)
    client.connect_ex((pair.b.addresses[4], 9))
    row = fails(client.getsockname()[1], 1)
    begin = time.monotonic()
    assert row.what == "connecting"
    assert row.left is not None
    poll = select.poll()
    poll.register(client, select.POLLERR)
    assert poll.poll(1000 * (row.left.most_s + 10))
    took = time.monotonic() - begin
    assert 0.9 * row.left.least_s - SLACK_S <= took <= 1.1 * row.left.most_s + SLACK_S


def test_a_closed_window_and_a_half_closed_connection_have_no_end(pair: Net) -> None:
    window, half, healthy = (connected(pair) for _ in range(3))
    window.a.setblocking(False)
    with suppress(BlockingIOError):
        while True:
            window.a.send(b"x" * 65536)
    half.a.shutdown(socket.SHUT_WR)
    row = fails(port_of(window))
    assert (row.what, row.left and row.left.least_s) == ("window closed", float("inf"))
    assert row.owner.endswith(f"/{os.getpid()}")
    row = fails(port_of(half))
    assert (row.what, row.left and row.left.least_s) == ("no FIN of peer", float("inf"))
    assert found(port_of(healthy)) is None
    assert row.netns == netns.find()[netns.resolve(pair.a.name)].inode


def test_both_screens_on_a_real_terminal(
    pair: Net, tmp_path_factory: pytest.TempPathFactory
) -> None:
    pair.a.sysctl(tcp_retries2=6)
    link = connected(pair)
    for _ in range(5):
        other = connected(pair)
        other.a.close()
        other.b.close()
    with screen(tmp_path_factory.mktemp("tmux")) as terminal:
        terminal.start(["top", "--netns", pair.a.name, "--netns", pair.b.name])
        terminal.until(lambda text: "  live  " in text, 60)
        pair.drop(pair.b)
        link.a.sendall(b"nobody hears it")
        terminal.keys("2", "/", *f"{pair.b.addresses[4]}:", "Enter")
        terminal.until(lambda text: f"{pair.b.addresses[4]}:{link.b.getsockname()[1]}" in text)
        text = terminal.until(lambda text: "retransmits" in text)
        assert f"python/{os.getpid()}"[:6] in text
        terminal.keys("Escape")  # by itself: with the next key it would be Alt
        terminal.until(lambda text: "filter: 10." not in text)
        terminal.keys("3", "/", *pair.a.name, "Enter")
        text = terminal.until(lambda text: "ports free" in text and pair.a.name[:11] in text)
        assert f"{pair.a.addresses[4]} to {pair.b.addresses[4]}:" in text
        terminal.keys("q")
        assert "ended with 0" in terminal.until(lambda text: "ended with" in text)
