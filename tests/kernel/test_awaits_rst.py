# SPDX-License-Identifier: Apache-2.0
"""An orphan that a RST ended waits for a RST of its own; the next socket at its address has another."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest

from tracetw.lab.net.host import PORT
from tracetw.lab.net.topology import Net
from tracetw.lab.play.tracer import Tracer
from tracetw.lab.polling import eventually

TCP_REPAIR = 19
OTHER_PORT = PORT + 1
TIMES = 20


@pytest.fixture
def one_cpu() -> Iterator[None]:
    """A freed socket's place is taken by the next one of the same CPU."""
    usual = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(usual)})
    yield
    os.sched_setaffinity(0, usual)


def pair(net: Net, listener: socket.socket) -> tuple[socket.socket, socket.socket]:
    end = net.client()
    end.connect((net.b.addresses[net.family], listener.getsockname()[1]))
    accepted = net.keep(listener.accept()[0])
    accepted.settimeout(end.gettimeout())
    return end, accepted


@pytest.mark.usefixtures("one_cpu")
@pytest.mark.parametrize("family", [4, 6])
def test_the_reset_of_the_next_socket_at_the_address(family: int) -> None:
    with (
        Net(family) as net,
        Tracer("--port", str(PORT), "--addr", net.b.addresses[family]) as tracer,
    ):
        listener, other = net.listen(), net.listen(port=OTHER_PORT)
        for _ in range(TIMES):
            gone, orphan = pair(net, listener)
            gone.shutdown(socket.SHUT_WR)
            assert orphan.recv(1) == b""
            gone.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
            gone.close()
            orphan.close()  # in LAST_ACK: its FIN is answered with RST, since nobody is there
            left, late = pair(net, other)
            left.shutdown(socket.SHUT_RDWR)
            late.send(b"late")  # answered with RST by a socket that no filter lets through
            left.close()
            late.close()
        eventually(lambda: len(tracer.select(kind="close", role="server")) == TIMES)
        verdicts = {line["verdict"] for line in tracer.select(kind="close", role="server")}
        # peer-reset where the RST answered the delayed ACK of the FIN already.
        assert "peer-lost-state" in verdicts
        assert verdicts <= {"peer-lost-state", "peer-reset"}
