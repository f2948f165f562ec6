# SPDX-License-Identifier: Apache-2.0
"""The audit of real namespaces: what it sees of their sockets and rules, what it finds, and that it changes nothing."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.kit.checkout import NOBODY
from tests.kernel.kit.namespace import connection, ip, namespace
from tests.unit.commands import PROGRAM
from tests.unit.recording_files import GOLDEN
from tracetw.doctor import document as of
from tracetw.doctor.audit import SETTINGS, audit
from tracetw.doctor.enter import look
from tracetw.doctor.observed import Facts
from tracetw.host import netns
from tracetw.host.netns import Netns
from tracetw.host.quiet import listening, quiet
from tracetw.lab.net.topology import Net
from tracetw.lab.polling import eventually, patient
from tracetw.recording.convert import FORMAT_VERSION

MPTCP = 262
RETRIES2 = "net.ipv4.tcp_retries2"


def doctor(*words: str, prefix: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*prefix, *PROGRAM, "doctor", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=patient(60),
    )


def told(*words: str, prefix: tuple[str, ...] = ()) -> dict[str, Any]:
    done = doctor("-o", "json", *words, prefix=prefix)
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def looked(*namespaces: Netns) -> dict[str, Any]:
    """The same without a new interpreter, but for the child that enters."""
    found = audit([each.inode for each in namespaces], nf_tables=True)
    document = {
        "settings": of.settings(found),
        "findings": of.findings(found),
        "evidence": of.evidence(found),
        "listeners": of.listeners(found),
    }
    copied: dict[str, Any] = json.loads(of.lines(document))
    return copied


def inside(ns: Netns, *argv: str, text: str = "") -> str:
    command = ["ip", "netns", "exec", str(ns.name), *argv]
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, check=True, timeout=patient(30)
    )
    return done.stdout


def facts(ns: Netns) -> Facts:
    (found,) = audit([ns.inode], nf_tables=True).namespaces
    return found.facts


def about(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["about"]: each for each in document["findings"]}


def test_defaults_are_those_of_a_new_namespace(ns: Netns) -> None:
    (found,) = audit([ns.inode], nf_tables=True).namespaces
    assert {row.setting.name for row in found.rows} >= {
        each.name for each in SETTINGS if each.name.startswith("net.ipv4.tcp_keepalive")
    }
    for row in found.rows:
        if row.default is not None:
            assert row.value == row.default, row.setting.name
    assert found.findings == ()


def test_a_setting_of_one_namespace_is_found_there_alone(ns: Netns) -> None:
    inside(ns, "sysctl", "-qw", f"{RETRIES2}=3")
    with namespace() as other:
        document = looked(ns, other)
        values = {
            row["netns"]: row["value"] for row in document["settings"] if row["name"] == RETRIES2
        }
        assert values == {ns.name: 3, other.name: 15}
        (finding,) = document["findings"]
        assert (finding["netns"], finding["about"], finding["value"]) == (ns.name, RETRIES2, "3")
        # The command does what it says; one that went wrong would change the other namespace.
        inside(other, "sh", "-c", finding["command"])
        assert looked(ns, other)["findings"] == []


def test_exit_codes(ns: Netns) -> None:
    name = str(ns.name)
    assert doctor("--netns", name, "--check").returncode == 0
    inside(ns, "sysctl", "-qw", f"{RETRIES2}=3")
    assert doctor("--netns", name).returncode == 0
    assert doctor("--netns", name, "--check").returncode == 4
    assert doctor("--netns", "no-such-one").returncode == 2


def test_all_namespaces_and_those_that_may_not_be_entered(ns: Netns) -> None:
    document = told("--netns", "all")
    labels = list(dict.fromkeys(row["netns"] for row in document["settings"]))
    assert labels[0] == "host"
    assert ns.name in labels


def test_without_root_the_others_are_named_and_check_does_not_pass(ns: Netns) -> None:
    as_nobody = ("setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups")
    words = ("--netns", str(ns.name), "-o", "json")
    found = doctor(*words, prefix=as_nobody)
    assert found.returncode == 0, found.stderr
    (unseen,) = json.loads(found.stdout)["unseen"]
    assert unseen == {"netns": ns.name, "reason": "Operation not permitted"}
    checked = doctor(*words, "--check", prefix=as_nobody)
    assert checked.returncode == 1
    assert "1 network namespace could not be looked at" in checked.stderr
    assert told(prefix=as_nobody)["settings"]  # its own


def _modules() -> str:
    """Empty where the kernel has everything built in."""
    path = Path("/proc/modules")
    return path.read_text(encoding="ascii") if path.exists() else ""


def test_it_changes_nothing(ns: Netns) -> None:
    def state() -> tuple[str, str, str]:
        settings = inside(ns, "sh", "-c", "grep -rHs . /proc/sys/net/ipv4 /proc/sys/net/core; :")
        return settings, inside(ns, "nft", "list", "ruleset"), _modules()

    inside(ns, "nft", "-f", "-", text=_TRACK.format("drop"))
    before = state()
    looked(ns)
    assert state() == before


def test_the_child_keeps_few_capabilities(tmp_path: Path) -> None:
    """A path that blocks holds it up where it would enter; it is ended all the same."""
    fifo = tmp_path / "namespace"
    os.mkfifo(fifo)
    found = []

    def ask() -> None:
        where = Netns(1, None, None, str(fifo))
        found.append(look([where], [RETRIES2], [], idle_s=1, nf_tables=True))

    before = set(_children())
    thread = threading.Thread(target=ask)
    thread.start()
    try:
        (child,) = eventually(lambda: set(_children()) - before, what="the child")
        held = {"CapEff": 0b1 << 2 | 0b1 << 12 | 0b1 << 19 | 0b1 << 21}

        def capabilities() -> int:
            status = Path(f"/proc/{child}/status").read_text(encoding="ascii").splitlines()
            return int(next(line.split()[1] for line in status if line.startswith("CapEff")), 16)

        eventually(lambda: capabilities() & ~held["CapEff"] == 0, what="the child dropped the rest")
        os.kill(child, signal.SIGKILL)
    finally:
        thread.join(patient(30))
    assert found[0].unseen == {1: "the child that looks did not answer"}


def _children() -> Iterator[int]:
    for task in Path("/proc/self/task").iterdir():
        yield from map(int, (task / "children").read_text(encoding="ascii").split())


def test_accept_queues(ns: Netns) -> None:
    with ExitStack() as stack, netns.inside(ns) as run:
        server = stack.enter_context(run(lambda: socket.create_server(("127.0.0.1", 0), backlog=2)))
        address = server.getsockname()
        assert about(looked(ns)) == {}
        for _ in range(5):
            client = stack.enter_context(run(socket.socket))
            client.setblocking(False)
            with suppress(BlockingIOError):
                client.connect(address)
        document = looked(ns)
    (row,) = document["listeners"]
    assert (row["port"], row["backlog"], row["waiting"]) == (address[1], 2, 3)
    assert row["protocol"] == "tcp"
    finding = about(document)["accept queue"]
    assert f"(pid {os.getpid()}): 3 of 2 wait" in finding["evidence"][0]
    assert finding["command"] is None
    assert "backlog" in finding["advice"]


def test_listeners_of_mptcp(ns: Netns) -> None:
    if not Path("/proc/sys/net/mptcp/enabled").exists():
        pytest.skip("this kernel has no MPTCP")

    def listen(protocol: int) -> socket.socket:
        made = socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol)
        made.bind(("127.0.0.1", 0))
        made.listen()
        return made

    with (
        netns.inside(ns) as run,
        run(lambda: listen(0)) as plain,
        run(lambda: listen(MPTCP)) as mptcp,
    ):
        port = mptcp.getsockname()[1]
        found = {each.port: each for each in run(listening)}
        assert not found[plain.getsockname()[1]].mptcp
        of_mptcp = found[port]
        assert of_mptcp.mptcp
        assert of_mptcp.inode == os.fstat(mptcp.fileno()).st_ino
        shown = doctor("--netns", str(ns.name)).stdout
    assert f"listens on port {port} with MPTCP" in shown


_TRACK = (
    "table inet t {{\n chain c {{\n type filter hook prerouting priority 0\n"
    " ct state invalid counter {}\n ct state established accept\n }}\n}}\n"
)


@pytest.mark.parametrize(("rule", "drops"), [("drop", True), ("accept", False)])
def test_connection_tracking_and_what_becomes_of_invalid_packets(
    ns: Netns, *, rule: str, drops: bool
) -> None:
    untracked = facts(ns).tracking
    if untracked is not None:  # where the module is not loaded yet
        assert untracked.entries == 0
        assert untracked.drops_invalid is None
    inside(ns, "nft", "-f", "-", text=_TRACK.format(rule))
    inside(ns, "sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_timeout_established=100")
    with netns.inside(ns) as run:
        client, server = connection(run)
    with client, server:
        document = looked(ns)
    (evidence,) = document["evidence"]
    assert evidence["conntrack"]["entries"] >= 1
    assert evidence["conntrack"]["drops_invalid"] is drops
    finding = about(document)["net.ipv4.tcp_keepalive_time"]
    assert finding["command"].endswith("sysctl -w net.ipv4.tcp_keepalive_time=50")


def test_routes_with_a_timeout_of_their_own(ns: Netns) -> None:
    ip("-n", str(ns.name), "route", "add", "10.1.0.0/16", "dev", "lo", "rto_min", "20ms")
    ip("-n", str(ns.name), "route", "add", "10.2.0.0/16", "dev", "lo")
    ip("-n", str(ns.name), "-6", "route", "add", "2001:db8::/32", "dev", "lo", "rto_min", "50ms")
    assert [tuple(route) for route in facts(ns).rto_mins] == [
        ("10.1.0.0/16", 20),
        ("2001:db8::/32", 50),
    ]


def test_idle_connections_and_their_keepalive() -> None:
    with Net() as net:
        link = net.connect()
        probed = net.client()
        probed.connect(net.server)
        net.keep(link.listener.accept()[0])
        probed.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        # What a host talks to itself is no business of a device between two hosts.
        own, client = net.keep(net.a.listen(port=7001)), net.client()
        client.connect((net.a.addresses[4], 7001))
        net.keep(own.accept()[0])
        with net.a.entered():
            time.sleep(0.3)
            found, later = quiet(0.2), quiet(60)
        assert (found.connections, found.keepalive) == (2, 1)
        assert (found.silent, found.probed, found.half_closed) == (1, 1, 0)
        assert (later.silent, later.probed, later.longest) == (0, 0, ())
        by_inode = {each.inode: each for each in found.longest}
        assert not by_inode[os.fstat(link.a.fileno()).st_ino].keepalive
        assert by_inode[os.fstat(probed.fileno()).st_ino].keepalive
        # The one that is probed is shown beside many that have been idle for longer.
        for _ in range(25):
            net.client().connect(net.server)
            net.keep(link.listener.accept()[0])
        late = net.client()
        late.connect(net.server)
        net.keep(link.listener.accept()[0])
        late.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        with net.a.entered():
            shown = quiet(0.0).longest
        assert sum(each.keepalive for each in shown) == 2
        assert sum(not each.keepalive for each in shown) == 20
        link.b.close()
        with net.a.entered():
            eventually(lambda: quiet(0.0).half_closed == 1, what="A is in CLOSE_WAIT")


@pytest.mark.parametrize(("value", "wrong"), [("15", False), ("9", True)])
def test_who_set_it(tmp_path: Path, *, value: str, wrong: bool) -> None:
    (tmp_path / "90-ours.conf").write_text(f"# ours\n{RETRIES2} = {value}\n")
    mount = f'mount --bind {tmp_path} /etc/sysctl.d && exec "$@"'
    document = told(prefix=("unshare", "-m", "sh", "-c", mount, "-"))
    (row,) = [each for each in document["settings"] if each["name"] == RETRIES2]
    path = "/etc/sysctl.d/90-ours.conf"
    if row["value"] != 15:
        pytest.skip(f"this host has {RETRIES2} {row['value']}")
    assert row["set_by"] == (None if wrong else {"file": path, "line": 2})
    said = [f"{path}:2 says {value}"]
    assert [each["evidence"] for each in document["findings"] if each["about"] == RETRIES2] == (
        [said] if wrong else []
    )


def test_verdicts_of_a_recording_stand_beside_their_settings() -> None:
    recording = str(GOLDEN / f"v{FORMAT_VERSION}" / "raw")
    document = told("--recording", recording)
    assert document["recorded"]["peer-reset"] > 0
    shown = doctor("--recording", recording, "-o", "wide").stdout
    assert f"peer-reset {document['recorded']['peer-reset']} recorded" in " ".join(shown.split())
    assert doctor("--recording", "/nowhere").returncode == 2


def test_documents_are_alike_from_run_to_run(ns: Netns) -> None:
    """But for the time and for evidence: the kernel counts some sockets for the whole machine."""
    one, other = (doctor("-o", "json", "--netns", str(ns.name)).stdout for _ in range(2))
    different = [
        line
        for line, twin in zip(one.splitlines(), other.splitlines(), strict=True)
        if line != twin and '"counters"' not in line
    ]
    assert len(different) == 1
    assert different[0].startswith(' "time"')
