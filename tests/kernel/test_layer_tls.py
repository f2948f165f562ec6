# SPDX-License-Identifier: Apache-2.0
"""TLS in the kernel, a module.

A kernel without the module says so itself, and that is why the test is skipped.
"""

from __future__ import annotations

import errno
import socket
import struct

import pytest

from tracetw.lab.net.topology import Net
from tracetw.lab.play.tracer import Tracer
from tracetw.lab.polling import eventually

pytestmark = pytest.mark.timeout(240)

# include/uapi/linux/tcp.h, tls.h
TCP_ULP, SOL_TLS, TLS_TX, TLS_RX = 31, 282, 1, 2
TLS_1_2_VERSION, TLS_CIPHER_AES_GCM_128 = 0x0303, 51
KEYS = struct.pack("=HH", TLS_1_2_VERSION, TLS_CIPHER_AES_GCM_128) + bytes(range(36))
"""struct tls12_crypto_info_aes_gcm_128: iv 8, key 16, salt 4, rec_seq 8."""


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
