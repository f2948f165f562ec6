# SPDX-License-Identifier: Apache-2.0
"""The packets on a cable, as the kernel shows them to a packet socket, kept as a pcap file.

Only the file is written here. What is in it is read by scapy (:mod:`tracetw.lab.net.wire`), so that no
code of ours stands between the cable and the proof. Packets wait in the socket until they are
fetched: a scenario has few.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from pathlib import Path

from tracetw.closing import Closing
from tracetw.lab.net.host import Host
from tracetw.lab.polling import require

__all__ = ["Capture"]

ETH_P_ALL = 3
SOL_PACKET = 263
PACKET_STATISTICS = 6
SO_TIMESTAMPNS = 35
SO_RCVBUFFORCE = 33
BUFFER_BYTES = 64 << 20
SNAP = 65535
# pcap-savefile(5): the magic number for nanoseconds, version 2.4, Ethernet.
_HEADER = struct.Struct("=IHHiIII")
_RECORD = struct.Struct("=IIII")
_MAGIC_NS, _ETHERNET = 0xA1B23C4D, 1
_TIMESPEC = struct.Struct("=qq")


class Capture(Closing):
    """Everything that passes an interface of a host while in the context."""

    def __init__(self, host: Host, ifname: str = "eth0") -> None:
        with host.entered():
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        self._socket.bind((ifname, ETH_P_ALL))
        self._socket.setblocking(False)
        self._host = host

    def save(self, path: Path) -> None:
        """Write what has passed so far and was not written before."""
        how = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(path, how, 0o640), "wb") as file:
            file.write(_HEADER.pack(_MAGIC_NS, 2, 4, 0, 0, SNAP, _ETHERNET))
            while True:
                try:
                    frame, ancillary, _, _ = self._socket.recvmsg(SNAP, socket.CMSG_SPACE(16))
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno != errno.ENETDOWN:  # said once, when the interface has gone
                        raise
                    continue
                seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2][: _TIMESPEC.size])
                file.write(_RECORD.pack(seconds, nanoseconds, len(frame), len(frame)) + frame)
        _, dropped = struct.unpack("II", self._socket.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
        require(dropped == 0, f"the capture on {self._host.name} lost {dropped} packets")

    def close(self) -> None:
        """Watch no more."""
        self._socket.close()
