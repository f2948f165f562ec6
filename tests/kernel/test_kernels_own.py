# SPDX-License-Identifier: Apache-2.0
"""Sockets of the kernel's own that have a file, with real NFS, and those of applications that look like them.

A kernel without the modules says so itself, and that is why a test is skipped.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest

from tests.kernel.kit import nfs
from tests.kernel.kit.modules import need
from tracetw.lab.net.host import Host
from tracetw.lab.net.topology import Net
from tracetw.lab.play.tracer import Tracer
from tracetw.lab.polling import eventually
from tracetw.lab.scenarios.moves import abort, see_reset

pytestmark = pytest.mark.timeout(240)

NOBODY = {"layer": "kernel", "owner_from": "kernel", "pid": None, "comm": None}
AF_SMC = 43


def _of(netns: int, end: str, port: int, line: dict[str, Any]) -> bool:
    return (line["kind"], line["netns"]) == ("close", netns) and line[end]["port"] == port


def owner(line: Mapping[str, Any]) -> dict[str, Any]:
    return {name: line[name] for name in NOBODY}


@pytest.fixture(scope="module")
def ends(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """A mount whose client closes first, and a process whose server, nfsd, closes first."""
    need("nfsv4", "nfsd")
    folder = tmp_path_factory.mktemp("nfs")
    with Net() as net, Tracer("--netns", "all") as tracer:
        address = net.server[0]
        with nfs.server(net.b, folder / "nfsd") as server:
            with nfs.mounting(net.a, address, folder / "mnt"):
                eventually(lambda: "ESTABLISHED" in net.b.states(nfs.PORT))
            eventually(lambda: net.b.states(nfs.PORT) == [])
            mount = [
                tracer.wait_for(partial(_of, net.a.netns, "remote", nfs.PORT)),
                tracer.wait_for(partial(_of, net.b.netns, "local", nfs.PORT)),
            ]
            with net.a.tcp_socket() as client:
                client.connect((address, nfs.PORT))
                port = client.getsockname()[1]
                # Nothing in a queue means that nfsd has accepted it: so it has its file before it ends.
                client.sendall(nfs.BEGUN)
                eventually(lambda: net.b.states(nfs.PORT) == ["ESTABLISHED"])
                eventually(lambda: net.b.unread(nfs.PORT) == 0)
                server.stop()
                assert client.recv(1) == b""
            shut = [
                tracer.wait_for(partial(_of, net.a.netns, "local", port)),
                tracer.wait_for(partial(_of, net.b.netns, "remote", port)),
            ]
        tracer.stop()
    return {"mount": mount, "shut": shut}


def test_nfs_is_the_kernels(ends: Mapping[str, Any]) -> None:
    """The transport of a mount has a file (xs_create_sock), nfsd's end of it too (svc_tcp_accept) on newer kernels."""
    client, server = ends["mount"]
    assert (client["first_close"], server["first_close"]) == ("local", "remote")
    assert [owner(client), owner(server)] == [NOBODY, NOBODY]


def test_nfsd_that_closes_first(ends: Mapping[str, Any]) -> None:
    """It takes its sk_user_data away before it shuts down (svc_sock_detach); whoever stops it is no owner."""
    client, server = ends["shut"]
    assert (client["first_close"], server["first_close"]) == ("remote", "local")
    assert owner(server) == NOBODY
    assert (client["layer"], client["pid"]) == (None, os.getpid())


def of_kind(host: Host, family: int) -> socket.socket:
    """Python knows no address of AF_SMC, which has those of AF_INET."""
    with host.entered():
        made = socket.socket(family, socket.SOCK_STREAM)
    return socket.socket(socket.AF_INET, socket.SOCK_STREAM, fileno=made.detach())


@pytest.mark.parametrize("role", ["client", "server"])
def test_the_file_of_an_application_is_not_the_kernels(role: str) -> None:
    """AF_SMC that fell back: the kernel made the socket of TCP, which has the application's file meanwhile."""
    need("smc")
    with Net() as net, Tracer("--netns", "all") as tracer:
        listener = of_kind(net.b, AF_SMC if role == "server" else socket.AF_INET)
        client = of_kind(net.a, AF_SMC if role == "client" else socket.AF_INET)
        listener.bind(net.server)
        listener.listen()
        client.connect(net.server)
        served, _ = listener.accept()
        client.sendall(b"hello")
        assert served.recv(5) == b"hello"
        its, plain = (client, served) if role == "client" else (served, client)
        abort(plain)
        see_reset(its)
        listener.close()
        line = tracer.close_of((net.a if role == "client" else net.b).netns)
        tracer.stop()
    assert (line["verdict"], line["layer"]) == ("peer-reset", None)
    assert (line["owner_from"], line["pid"]) == ("close", os.getpid())
