# SPDX-License-Identifier: Apache-2.0
"""The reconciliation in the summary of ``tracetw trace``: the kernel's own counters add up, or it says why not."""

from __future__ import annotations

import socket
from contextlib import ExitStack

from tests.kernel.kit.namespace import connection, namespace
from tests.kernel.kit.pair import LINGER_0, only, reset_once
from tracetw.host import netns
from tracetw.lab.expect.kernel import TW_AT_BIRTH, shown
from tracetw.lab.net.topology import Net
from tracetw.lab.play.tracer import Tracer
from tracetw.lab.polling import eventually


def test_summary_reconciles(pair: Net) -> None:
    """One connection of each main kind: the kernel's counters are explained to the last one."""
    with Tracer(*only(pair)) as tracer:
        reset_once(pair)
        link = pair.connect()
        link.b.sendall(b"unread")
        assert link.a.recv(10, socket.MSG_PEEK)
        link.a.close()
        link.listener.close()
        link = pair.connect()
        link.a.close()
        eventually(lambda: "FIN_WAIT2" in pair.a.states())
        link.b.close()
        eventually(lambda: "TIME_WAIT" in pair.a.states())
        entries = tracer.stop()["reconciliation"]
    by_name = {entry["counter"]: entry for entry in entries}
    born = int(TW_AT_BIRTH in shown())
    differ = {entry["counter"] for entry in entries if entry["difference"]}
    assert differ == (set() if born else {"TW"})
    assert all(entry["reason"] for entry in entries if entry["difference"])
    expected = {"TCPAbortOnData": 1, "TCPAbortOnClose": 1, "TW": 1, "OutRsts": 2}
    assert {name: by_name[name]["kernel"] for name in expected} == {**expected, "TW": born}
    assert {name: by_name[name]["explained"] for name in expected} == expected


def test_only_the_namespaces_that_are_traced_are_compared(pair: Net) -> None:
    """What ends elsewhere meanwhile is no difference, and no excuse for one."""
    with Tracer("--netns", pair.a.name) as tracer:
        for _ in range(3):
            reset_once(pair)
        entries = tracer.stop()["reconciliation"]
    by_name = {entry["counter"]: entry for entry in entries}
    assert by_name["TCPAbortOnData"]["kernel"] == 3
    assert by_name["EstabResets"]["kernel"] == 3  # of six on the host
    assert by_name["OutRsts"]["kernel"] >= 3
    assert [entry for entry in entries if entry["difference"]] == []


def test_a_finer_filter_is_not_compared_and_that_is_said_once(pair: Net) -> None:
    with Tracer(*only(pair), "--port", "7000") as tracer:
        reset_once(pair)
        summary = tracer.stop()
        said = tracer.said()
    assert [entry["counter"] for entry in summary["reconciliation"]] == ["OutRsts"]
    assert "filter is finer" in summary["not_reconciled"]
    assert said.count("not compared") == 1


def test_summary_reconciles_when_the_number_of_a_namespace_is_used_again() -> None:
    """As containers do that come and go: the counters are those of the newer one."""
    with Tracer() as tracer, ExitStack() as newer:
        with namespace() as older, netns.inside(older) as run:
            client, server = connection(run)
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
            client.close()
            server.close()
        eventually(lambda: tracer.select(netns=older.inode))
        eventually(lambda: newer.enter_context(namespace()).inode == older.inode, 60.0)
        (entry,) = (
            entry
            for entry in tracer.stop()["reconciliation"]
            if entry["counter"] == "TCPAbortOnData"
        )
    assert entry["difference"] == -1
    assert "whose numbers others seem to have now: 1" in entry["reason"]
