# SPDX-License-Identifier: Apache-2.0
"""Who listens, and what addresses are called: live, recorded, and from a name server that is hostile."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.kit.command import run
from tracetw.host.cgroup import unit
from tracetw.lab.net.host import Host, alone
from tracetw.lab.play.child import COMMAND, environment
from tracetw.lab.polling import patient

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(300)]

# Connections to addresses and a port of this namespace, each cut off by its client.
CUT = textwrap.dedent("""
    import socket, struct, sys
    for address in sys.argv[2:]:
        with socket.create_connection((address, int(sys.argv[1])), 10) as end:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
""")

# Answers each question for a PTR record: with a name, with one that no host may have, or with nothing.
SERVER = textwrap.dedent("""
    import socket, struct, sys
    NAMES = {b"1": [b"db", b"example"], b"2": [b"\\x1b[2Jevil", b"example"]}
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 53))
    print("ready", flush=True)
    while True:
        asked, whom = udp.recvfrom(4096)
        labels = NAMES.get(asked[13 : 13 + asked[12]])
        if labels is None:
            continue
        name = b"".join(bytes([len(one)]) + one for one in labels) + b"\\0"
        answer = struct.pack("!HHHLH", 0xC00C, 12, 1, 60, len(name)) + name
        end = asked.index(b"\\0", 12) + 5
        udp.sendto(asked[:2] + struct.pack("!HHHHH", 0x8180, 1, 1, 0, 0) + asked[12:end] + answer, whom)
""")


def closes(text: str) -> list[dict[str, Any]]:
    """Of lines of JSON."""
    return [one for one in map(json.loads, text.splitlines()) if one["kind"] == "close"]


def clients(host: Host, port: int, *addresses: str) -> list[str]:
    """Words of a command that is traced."""
    inside = host.inside([sys.executable, "-c", CUT, str(port), *addresses])
    return ["--netns", str(host.netns), "--", *inside]


def test_who_listens_is_told_live_and_recorded(tmp_path: Path) -> None:
    comm = Path("/proc/self/comm").read_text(encoding="utf-8").strip()
    mine = Path("/proc/self/cgroup").read_text(encoding="utf-8").rpartition("::")[2].strip()
    with alone() as host, host.listen(port=9101):
        words = clients(host, 9101, "127.0.0.1")
        live = closes(run(*COMMAND, "trace", "-o", "json", *words).stdout)
        wide = run(*COMMAND, "trace", "-o", "wide", *words).stdout
        run(*COMMAND, "record", "-o", tmp_path / "rec", *words)
        replayed = closes(run(*COMMAND, "replay", "-o", "json", tmp_path / "rec").stdout)
    for lines in (live, replayed):
        assert {line["role"] for line in lines} == {"client", "server"}
        for line in lines:
            assert line["listener"]["comm"] == comm
            assert line["listener"]["unit"] == unit(mine)
            assert line["remote"]["name"] == "localhost"
    assert wide.count(f"listener={comm} ") == 2
    assert wide.count("remote=localhost ") == 2


def test_a_port_that_nobody_holds_has_no_listener() -> None:
    """Near miss: the listener is gone when its connection ends, and a port of another namespace is another."""
    with alone() as host, alone() as other, other.listen(port=9101):
        with host.listen(port=9101) as listener:
            end = host.tcp_socket()
            end.connect(("127.0.0.1", 9101))
            server = listener.accept()[0]
        with end, server:
            words = ["--duration", "6", "--netns", str(host.netns)]
            traced = subprocess.Popen(
                [*COMMAND, "trace", "-o", "json", *words],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment(),
            )
            assert traced.stderr is not None
            while "tracing" not in traced.stderr.readline():
                pass
            end.close()
            server.close()
        found = closes(traced.communicate(timeout=patient(60))[0])
    assert len(found) == 2
    assert [line["listener"] for line in found] == [None, None]


def test_a_name_server_is_asked_only_if_wanted(tmp_path: Path) -> None:
    """Each name that it gives is asked for once; what is no name of a host is none; silence delays nothing."""
    (tmp_path / "resolv.conf").write_text("nameserver 127.0.0.1\n")
    (tmp_path / "nsswitch.conf").write_text("hosts: files dns\n")
    mounts = "; ".join(
        f"mount --bind {tmp_path / name}.conf /etc/{name}.conf" for name in ("resolv", "nsswitch")
    )
    with alone() as host:
        addresses = [f"10.99.0.{number}" for number in (1, 2, 3)]
        for address in addresses:
            host.run("ip", "addr", "add", f"{address}/32", "dev", "lo")
        with (
            subprocess.Popen(
                host.inside([sys.executable, "-c", SERVER]), stdout=subprocess.PIPE
            ) as server,
            host.listen(port=9101),
        ):
            assert server.stdout is not None
            assert server.stdout.readline() == b"ready\n"
            try:
                wrapped = ("unshare", "-m", "sh", "-c", f'{mounts}; exec "$@"', "sh")
                run(*COMMAND, "record", "-o", tmp_path / "rec", *clients(host, 9101, *addresses))
                asking = host.inside(
                    [*wrapped, *COMMAND, "replay", "-o", "json", str(tmp_path / "rec")]
                )
                silent = closes(run(*asking).stdout)
                done = run(*asking, "--resolve")
                twice = clients(host, 9101, addresses[0], *[addresses[1]] * 3)
                live = run(
                    *host.inside([*wrapped, *COMMAND, "trace", "-o", "json", "--resolve", *twice])
                )
            finally:
                server.kill()
    assert {line["remote"]["name"] for line in silent} == {None}
    names = {line["remote"]["addr"]: line["remote"]["name"] for line in closes(done.stdout)}
    assert names == dict(zip(addresses, ("db.example", None, None), strict=True))
    assert "1 of 3 addresses had no answer in time" in done.stderr or "had no" not in done.stderr
    assert len(closes(live.stdout)) == 8
