# SPDX-License-Identifier: Apache-2.0
"""What stands above TCP, on real sockets: tracetw names a sockmap at whichever end closes first, and nothing else."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest

from tests.kernel.kit.sockmap import sockmap
from tracetw.lab.expect.kernel import shown
from tracetw.lab.net.topology import Link, Net
from tracetw.lab.play.tracer import Tracer
from tracetw.lab.polling import eventually
from tracetw.lab.scenarios.moves import abort, see_reset, talk

pytestmark = pytest.mark.timeout(120)


@dataclass(frozen=True, slots=True)
class Played:
    """Lines by play and host; how many connections there were, and all lines of closes."""

    by_play: Mapping[str, Mapping[str, Any]]
    connections: int
    closes: list[dict[str, Any]]


@pytest.fixture(scope="module")
def played() -> Iterator[Played]:
    """A's end is in a sockmap, B's is not."""
    with Net() as net, sockmap() as put, Tracer("--netns", "all") as tracer:
        lines: dict[str, dict[str, Any]] = {}
        homes = {net.a.netns, net.b.netns}
        for name, ending in ENDINGS.items():
            link = net.connect()
            put(link.a)
            talk(link)
            port = link.a.getsockname()[1]
            ending(link)
            link.listener.close()
            lines[name] = {
                "a": tracer.wait_for(partial(_ours, net.a.netns, "local", port)),
                "b": tracer.wait_for(partial(_ours, net.b.netns, "remote", port)),
            }
        with net.listen() as listener:
            put(listener)
        for host in (net.a, net.b):
            with host.entered():
                _next_sockets()
        tracer.stop()
        closes = [line for line in tracer.select(kind="close") if line["netns"] in homes]
        yield Played(lines, len(ENDINGS), closes)


def _ours(netns: int, end: str, port: int, line: dict[str, Any]) -> bool:
    return (line["kind"], line["netns"]) == ("close", netns) and line[end]["port"] == port


def _next_sockets() -> None:
    """Where sockets were freed others begin: what was left of the ones before would be told as their end."""
    held = [socket.socket() for _ in range(64)]
    for end in held:
        end.close()


def peer_first(link: Link) -> None:
    link.b.close()
    eventually(lambda: link.a.recv(1) == b"")
    link.a.close()


def here_first(link: Link) -> None:
    link.a.close()
    eventually(lambda: link.b.recv(1) == b"")
    link.b.close()


def half(link: Link) -> None:
    link.a.shutdown(socket.SHUT_WR)
    eventually(lambda: link.b.recv(1) == b"")
    link.b.close()
    link.a.close()


def peer_aborts(link: Link) -> None:
    abort(link.b)
    link.a.close()


def reset_before_close(link: Link) -> None:
    """The connection has ended when the application closes: sock_map_close() sees a socket in CLOSE."""
    abort(link.b)
    see_reset(link.a)


ENDINGS = {
    "peer-first": peer_first,
    "here-first": here_first,
    "half": half,
    "abort": peer_aborts,
    "reset-before-close": reset_before_close,
}


@pytest.mark.parametrize("name", ENDINGS)
def test_a_sockmap_is_told(played: Played, name: str) -> None:
    line = played.by_play[name]["a"]
    told = name != "here-first" or "sockmap_close" in shown()
    assert line["layer"] == ("sockmap" if told else None)
    assert (line["bytes_sent"] is None) == told


@pytest.mark.parametrize("name", ENDINGS)
def test_the_other_end_has_none(played: Played, name: str) -> None:
    line = played.by_play[name]["b"]
    assert line["layer"] is None
    assert line["bytes_received"] is not None


def test_what_is_no_connection_has_no_line(played: Played) -> None:
    """A listener in a sockmap, and a close() after the end: each end of a connection has one line."""
    assert len(played.closes) == 2 * played.connections, played.closes
