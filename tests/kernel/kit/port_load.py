# SPDX-License-Identifier: Apache-2.0
"""Opens and closes connections at an even pace until there is no local port left; a program.

Arguments: connections a second, seconds at most, how (``connect``, ``bind``, ``no-port``), and addresses
with their ports to connect to in turn. The client closes first. Prints ``begun``, and at the end JSON: the
CLOCK_MONOTONIC of each connection, and ``failed``, when there was no port, with ``error``, or null.
"""

from __future__ import annotations

import errno
import json
import socket
import sys
import time

IP_BIND_ADDRESS_NO_PORT = 24


def one(how: str, address: str, listener: socket.socket) -> None:
    family = listener.family
    client = socket.socket(family)
    if how == "no-port":
        client.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    if how != "connect":
        client.bind((address, 0))
    client.connect(listener.getsockname()[:2])
    served = listener.accept()[0]
    client.close()
    served.close()


def main() -> None:
    rate, longest, how = float(sys.argv[1]), float(sys.argv[2]), sys.argv[3]
    listeners = []
    for word in sys.argv[4:]:
        address, _, port = word.rpartition(":")
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        listeners.append((address, socket.create_server((address, int(port)), family=family)))
    print("begun", flush=True)
    begun = time.monotonic()
    times: list[float] = []
    failed = error = None
    while failed is None and len(times) < longest * rate:
        time.sleep(max(begun + len(times) / rate - time.monotonic(), 0))
        address, listener = listeners[len(times) % len(listeners)]
        try:
            one(how, address, listener)
        except OSError as refused:
            if refused.errno not in {errno.EADDRNOTAVAIL, errno.EADDRINUSE}:
                raise
            failed, error = time.monotonic(), errno.errorcode[refused.errno]
        else:
            times.append(time.monotonic())
    print(json.dumps({"times": times, "failed": failed, "error": error}), flush=True)


main()
