# SPDX-License-Identifier: Apache-2.0
"""What is not seen is said, and is never an empty answer; no kernel."""

from __future__ import annotations

import errno
import socket

import numpy as np
import pytest

from tracetw.cli import timewait
from tracetw.doctor import audit as auditing
from tracetw.doctor.audit import Audit
from tracetw.doctor.enter import Looked
from tracetw.doctor.render import audit_text
from tracetw.errors import BadInput, CannotTrace, Failed
from tracetw.host import netlink, netns
from tracetw.host.netns import Netns
from tracetw.host.socktable import SOCKET
from tracetw.timewait import snapshot
from tracetw.timewait.advice import _pace
from tracetw.timewait.blockers import blocked
from tracetw.timewait.forecast import Forecast
from tracetw.timewait.look import Look
from tracetw.timewait.snapshot import Snapshot, take
from tracetw.top.waiting import _sentence

GONE = 77
THERE = {GONE: Netns(GONE, None, 5, "/proc/5/ns/net")}


def test_a_namespace_that_nothing_leads_to_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netns, "find", dict)
    with pytest.raises(BadInput, match="network namespace 77 has neither"):
        take(GONE)
    with pytest.raises(BadInput, match="network namespace 77 has neither"):
        auditing.audit([GONE], nf_tables=False)


def test_one_that_ends_meanwhile_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = iter([THERE, {}, THERE])
    monkeypatch.setattr(netns, "find", lambda: next(found))
    monkeypatch.setattr(snapshot, "_visit", lambda _: {})
    monkeypatch.setattr(auditing, "look", lambda *_, **__: Looked({}, {}))
    with pytest.raises(Failed, match="network namespace 77 ended"):
        take(GONE)
    with pytest.raises(Failed, match="network namespace 77 ended"):
        auditing.audit([GONE], nf_tables=False)


def test_no_finding_where_not_all_was_seen() -> None:
    assert "nothing looks wrong" in audit_text(Audit(250, (), {}, {}), {}, wide=False)
    part = audit_text(Audit(250, (), {}, {"web": "no"}), {}, wide=False)
    assert "findings: none in what was looked at" in part


def test_a_kernel_without_sock_diag(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPROTONOSUPPORT, "Protocol not supported")

    monkeypatch.setattr(socket, "socket", refuse)
    with pytest.raises(OSError, match="Protocol not supported") as caught:
        next(netlink.dump(4, 20, b""))
    assert caught.value.filename == netlink.NAME


@pytest.mark.parametrize(
    ("number", "name", "raised"),
    [
        (errno.ENOENT, netlink.NAME, CannotTrace),
        (errno.EMFILE, netlink.NAME, OSError),
        (errno.ENOENT, "/proc/x", OSError),
    ],
)
def test_which_refusals_are_for_want_of_the_module(
    monkeypatch: pytest.MonkeyPatch, number: int, name: str, raised: type[Exception]
) -> None:
    def refuse(_: object) -> None:
        raise OSError(number, "no", name)

    monkeypatch.setattr(snapshot, "take", refuse)
    with pytest.raises(raised):
        timewait._snapshot(None)


def test_check_needs_a_number_and_every_namespace(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadInput, match="nan"):
        timewait.command.main(["--check", "nan"], standalone_mode=False)
    seen = Snapshot(0, 0, 1, np.empty(0, SOCKET), {}, {GONE: "no"})
    monkeypatch.setattr(timewait, "_snapshot", lambda _: seen)
    monkeypatch.setattr(timewait, "_records", lambda *_: (None, ""))
    with pytest.raises(Failed, match="1 network namespace could not be read"):
        timewait.command.main(["--check", "5", "-o", "json"], standalone_mode=False)


def test_a_slow_pace_is_not_0() -> None:
    assert (_pace(0.2), _pace(12.3)) == ("0.2", "12")


@pytest.mark.parametrize(
    ("rate", "left", "end"),
    [
        (None, None, "20 ports free"),
        (2.0, None, "20 ports free, 2.0/s, lasts at this rate"),
        (None, 0.0, "20 ports free, no port is left"),
        (2.0, 5.0, "20 ports free, 2.0/s, runs out in 5.0s"),
    ],
)
def test_nothing_lasts_at_a_rate_that_is_not_known(
    rate: float | None, left: float | None, end: str
) -> None:
    seen = Snapshot(0, 0, 1, np.zeros(1, SOCKET), {})
    one = Forecast(1, 0, "connect", 20, 0, 0, 0, 0, 20, rate, 10.0, left, 60.0)
    text, _ = _sentence(Look(seen, None), one)
    assert text.endswith(end)


def test_a_free_port_is_told_of_what_can_be_seen() -> None:
    seen = Snapshot(0, 0, 1, np.empty(0, SOCKET), {})
    (note,) = blocked(Look(seen, None, listen=81))
    assert note.text == "No socket that can be seen has port 81."
