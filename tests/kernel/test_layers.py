# SPDX-License-Identifier: Apache-2.0
"""What stands above TCP, on real sockets: a sockmap is told of whichever end closes first."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.kernel.kit.sockmap import sockmap
from tracetw.lab.expect.kernel import shown
from tracetw.lab.net.topology import Link, Net
from tracetw.lab.play.tracer import Tracer
from tracetw.lab.polling import eventually
from tracetw.lab.scenarios.moves import abort, talk

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def played() -> Iterator[dict[str, dict[str, Any]]]:
    """Lines by play and host: A's end is in a sockmap, B's is not."""
    with Net() as net, sockmap() as put, Tracer("--netns", "all") as tracer:
        lines: dict[str, dict[str, Any]] = {}
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
        yield lines


def _ours(netns: int, end: str, port: int, line: dict[str, Any]) -> bool:
    return (line["kind"], line["netns"]) == ("close", netns) and line[end]["port"] == port


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


ENDINGS = {"peer-first": peer_first, "here-first": here_first, "half": half, "abort": peer_aborts}


@pytest.mark.parametrize("name", ENDINGS)
def test_a_sockmap_is_told(played: dict[str, dict[str, Any]], name: str) -> None:
    line = played[name]["a"]
    told = name != "here-first" or "sockmap_close" in shown()
    assert line["layer"] == ("sockmap" if told else None)
    assert (line["bytes_sent"] is None) == told


@pytest.mark.parametrize("name", ENDINGS)
def test_the_other_end_has_none(played: dict[str, dict[str, Any]], name: str) -> None:
    line = played[name]["b"]
    assert line["layer"] is None
    assert line["bytes_received"] is not None
