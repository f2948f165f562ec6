# SPDX-License-Identifier: Apache-2.0
"""Layers that are modules of the kernel: TLS in the kernel, and a socket that belongs to no process (NFS).

A kernel without the module says so itself, and that is why the test is skipped.
"""

from __future__ import annotations

import errno
import socket
import struct
import subprocess
import sys
from typing import Any

import pytest

from tracetw.lab.net.host import PORT
from tracetw.lab.net.topology import Net
from tracetw.lab.play.tracer import Tracer
from tracetw.lab.polling import eventually, patient

pytestmark = pytest.mark.timeout(240)

# include/uapi/linux/tcp.h, tls.h
TCP_ULP, SOL_TLS, TLS_TX, TLS_RX = 31, 282, 1, 2
TLS_1_2_VERSION, TLS_CIPHER_AES_GCM_128 = 0x0303, 51
KEYS = struct.pack("=HH", TLS_1_2_VERSION, TLS_CIPHER_AES_GCM_128) + bytes(range(36))
"""struct tls12_crypto_info_aes_gcm_128: iv 8, key 16, salt 4, rec_seq 8."""

# mount(2) of NFS 4: the kernel connects by itself. Exit status: errno.
MOUNT = """
import ctypes, os, sys, tempfile
libc = ctypes.CDLL(None, use_errno=True)
server, client, port = sys.argv[1:]
options = f"addr={server},clientaddr={client},proto=tcp,port={port},vers=4.1,soft,timeo=10,retrans=1"
with tempfile.TemporaryDirectory() as place:
    done = libc.mount(f"{server}:/".encode(), place.encode(), b"nfs4", 0, options.encode())
    number = ctypes.get_errno() if done else 0
    if not done:
        libc.umount2(place.encode(), 2)
sys.exit(number)
"""


def tls(end: socket.socket, way: int) -> None:
    try:
        end.setsockopt(socket.IPPROTO_TCP, TCP_ULP, b"tls")
    except OSError as error:
        if error.errno != errno.ENOENT:
            raise
        pytest.skip(f"setsockopt(TCP_ULP, tls): {error.strerror}: this kernel has no CONFIG_TLS")
    end.setsockopt(SOL_TLS, way, KEYS)


@pytest.mark.parametrize("read", [True, False])
def test_tls(read: bool) -> None:  # noqa: FBT001 (a parameter of pytest)
    """What the application has not read lies in TLS: TCP's number would be false, and is null."""
    with Net() as net, Tracer("--netns", "all") as tracer:
        link = net.connect()
        tls(link.a, TLS_TX)
        tls(link.b, TLS_RX)
        link.a.sendall(b"hello")
        if read:
            eventually(lambda: link.b.recv(5) == b"hello")
        link.a.close()
        link.b.close()
        lines = [tracer.close_of(host.netns) for host in (net.a, net.b)]
    assert [line["layer"] for line in lines] == ["tls", "tls"]
    assert [line["bytes_unread"] for line in lines] == [None, None]


def test_a_socket_of_the_kernel() -> None:
    """NFS connects without a process: nobody owns the connection, and no program is named."""
    with Net() as net, Tracer("--netns", "all") as tracer:
        listener = net.listen()
        listener.settimeout(patient(10))
        words = [net.b.addresses[4], net.a.addresses[4], str(PORT)]
        child = subprocess.Popen(net.a.inside([sys.executable, "-c", MOUNT, *words]))
        try:
            end = _accepted(listener, child)
            end.close()
            line: dict[str, Any] = tracer.wait_for(
                lambda line: line["kind"] == "close" and line["netns"] == net.a.netns, 20
            )
        finally:
            child.kill()
            child.wait()
    assert (line["layer"], line["pid"], line["comm"]) == ("kernel", None, None)
    assert line["remote"] == {"addr": net.b.addresses[4], "port": PORT}


def _accepted(listener: socket.socket, child: subprocess.Popen[bytes]) -> socket.socket:
    try:
        return listener.accept()[0]
    except TimeoutError:
        if child.poll() == errno.ENODEV:
            pytest.skip("mount(2) of nfs4: ENODEV: this kernel has no NFS client")
        raise
