# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tracetw.event import fields
from tracetw.event.fields import State
from tracetw.event.names import KernelNames
from tracetw.event.record import (
    CLOSE,
    F_BORN,
    F_CLIENT,
    F_DEAD,
    F_DONE,
    F_MISSED,
    F_OWNED,
    F_RST_IN,
    F_SERVER,
    F_SOCKET,
    F_TW,
    SHUT_READ_FINAL,
    T_READ,
    Layer,
)

NAMES = KernelNames({1: "ESTABLISHED", 4: "FIN_WAIT1", 7: "CLOSE"}, {}, {}, 250)
MS = 1_000_000


def row(**values: Any) -> NDArray[np.void]:
    made = np.zeros(1, CLOSE)
    for name, value in values.items():
        if name == "at":
            made["at"][0, : len(value)] = value
        else:
            made[name] = value
    return made


def test_path_is_oldest_first() -> None:
    assert fields.path_states(0x1457) == (1, 4, 5, 7)
    assert fields.path_states(0) == ()
    assert fields.state_names(0x147, NAMES) == ("ESTABLISHED", "FIN_WAIT1", "CLOSE")
    assert fields.state_names(0x17D, NAMES) == ("ESTABLISHED", "CLOSE", "13")


def test_depth_counts_states_up_to_what_has_a_time() -> None:
    paths = np.array([0, 1, 0x17, 0x1457, 0x2145671, 0x32145671], np.uint32)
    assert fields.depth(paths).tolist() == [0, 1, 2, 4, 7, 7]


def test_times_follow_the_path() -> None:
    rows = row(path=0x21457, at=[10, 20, 30, 40, 90], flags=F_BORN)
    assert fields.end_ns(rows).tolist() == [90]
    assert fields.time_in(rows, State.FIN_WAIT2).tolist() == [40]
    assert fields.time_in(rows, State.CLOSE_WAIT).tolist() == [-1]
    assert fields.duration_ns(rows).tolist() == [80]
    assert fields.teardown_ns(rows).tolist() == [60]


def test_a_longer_path_than_times_keeps_the_newest() -> None:
    rows = row(path=0x32145671, at=[1, 2, 3, 4, 5, 6, 7])
    assert fields.time_in(rows, State.SYN_RECV).tolist() == [-1]
    assert fields.time_in(rows, State.CLOSE).tolist() == [6]


def test_duration_is_unknown_before_the_trace() -> None:
    assert fields.duration_ns(row(path=0x147, at=[10, 20, 30])).tolist() == [-1]
    assert fields.duration_ns(row(path=0x147, at=[0, 20, 30], flags=F_BORN)).tolist() == [-1]
    assert fields.end_ns(row()).tolist() == [-1]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"path": 0x1897, "at": [1, 5, 6, 9]}, 4),
        ({"path": 0x17, "at": [1, 9], "flags": F_RST_IN}, 0),
        ({"path": 0x17, "at": [1, 9]}, -1),
        ({"path": 0x97, "at": [5, 9]}, -1),
        ({"path": 0x147, "at": [1, 0, 9]}, -1),
    ],
)
def test_teardown(values: dict[str, Any], expected: int) -> None:
    assert fields.teardown_ns(row(**values)).tolist() == [expected]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"rcv_nxt": 105, "copied_seq": 100}, 5),
        ({"rcv_nxt": 4, "copied_seq": 0xFFFFFFFF}, 5),
        ({"rcv_nxt": 101, "copied_seq": 100, "flags": F_DONE}, 0),
        ({"rcv_nxt": 100, "copied_seq": 100, "flags": F_DONE}, 0),
        ({"rcv_nxt": 105, "copied_seq": 100, "flags": F_DONE}, 4),
        ({"rcv_nxt": 99, "copied_seq": 100}, 0),
        ({"rcv_nxt": 105, "copied_seq": 0, "old_state": State.SYN_SENT}, 0),
        # The application may read on: a RST or TIME_WAIT came under it.
        ({"rcv_nxt": 105, "copied_seq": 100, "flags": F_SOCKET, "err": 104}, -1),
        ({"rcv_nxt": 105, "copied_seq": 100, "flags": F_SOCKET | F_OWNED | F_TW | F_DONE}, -1),
        ({"rcv_nxt": 105, "copied_seq": 100, "flags": F_SOCKET | F_OWNED}, 5),
        ({"rcv_nxt": 105, "copied_seq": 100, "flags": F_SOCKET, "shutdown": SHUT_READ_FINAL}, 5),
        ({"rcv_nxt": 105, "copied_seq": 100, "flags": F_SOCKET | F_DEAD}, 5),
        ({"rcv_nxt": 105, "copied_seq": 100, "layer": Layer.SOCKMAP}, -1),
    ],
)
def test_bytes_unread(values: dict[str, Any], expected: int) -> None:
    assert fields.bytes_unread(row(**values)).tolist() == [expected]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"snd_una": 1, "snd_nxt": 11, "write_seq": 11, "old_state": State.ESTABLISHED}, 10),
        ({"snd_una": 1, "snd_nxt": 11, "write_seq": 11, "old_state": State.FIN_WAIT1}, 9),
        ({"snd_una": 1, "snd_nxt": 11, "write_seq": 12, "old_state": State.FIN_WAIT1}, 10),
        ({"snd_una": 11, "snd_nxt": 11, "write_seq": 11, "old_state": State.LAST_ACK}, 0),
        ({"snd_una": 0xFFFFFFFE, "snd_nxt": 3, "write_seq": 3, "old_state": State.ESTABLISHED}, 5),
        ({"snd_una": 1, "snd_nxt": 2, "write_seq": 2, "old_state": State.SYN_SENT}, 0),
        ({"snd_una": 1, "snd_nxt": 1, "write_seq": 1, "old_state": State.SYN_SENT}, 0),
        # TCP Fast Open: data with the SYN, and of a child that has not got the ACK of its SYN+ACK.
        ({"snd_una": 1, "snd_nxt": 7, "write_seq": 7, "old_state": State.SYN_SENT}, 5),
        ({"snd_una": 1, "snd_nxt": 7, "old_state": State.SYN_RECV, "flags": F_SERVER}, 6),
        ({"snd_una": 1, "snd_nxt": 7, "old_state": State.SYN_RECV, "flags": F_CLIENT}, 5),
    ],
)
def test_bytes_unacked(values: dict[str, Any], expected: int) -> None:
    assert fields.bytes_unacked(row(**values)).tolist() == [expected]


def test_bytes_sent_counts_each_byte_once() -> None:
    assert fields.bytes_sent(row(bytes_sent=30, bytes_retrans=10)).tolist() == [20]
    assert fields.bytes_sent(row(bytes_sent=3, bytes_retrans=10)).tolist() == [0]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, 12),
        ({"flags": F_CLIENT}, 11),
        ({"bytes_acked": 40}, 30),
        ({"traits": 0}, 30),
        ({"flags": F_MISSED}, 30),
        ({"snd_nxt": 106, "write_seq": 106, "old_state": State.FIN_WAIT1}, 12),
        ({"snd_nxt": 106, "write_seq": 107, "old_state": State.FIN_WAIT1}, 13),
        ({"snd_una": 0xFFFFFFFE, "snd_nxt": 3}, 12),
    ],
)
def test_what_could_not_be_sent_was_not_sent(values: dict[str, Any], expected: int) -> None:
    """Twice more than 12 bytes were handed down; 7 were acknowledged, and 5 are outstanding."""
    rows = {
        "bytes_sent": 30,
        "bytes_acked": 7,
        "traits": T_READ,
        "snd_una": 100,
        "snd_nxt": 105,
        "write_seq": 110,
        "old_state": State.ESTABLISHED,
    }
    assert fields.bytes_sent(row(**{**rows, **values})).tolist() == [expected]


def test_role() -> None:
    rows = np.concatenate([row(flags=F_CLIENT), row(flags=F_SERVER), row()])
    assert [fields.ROLES[number] for number in fields.role(rows)] == ["client", "server", None]


def test_rto_is_in_ms() -> None:
    assert fields.rto_ms(row(rto=50), NAMES).tolist() == [200]


def test_addresses() -> None:
    four = row(family=2, laddr=[127, 0, 0, 1] + [0] * 12, raddr=[10, 255, 0, 1] + [0] * 12)
    mapped = [0] * 10 + [255, 255]
    both = row(family=10, laddr=[*mapped, 192, 0, 2, 1], raddr=[*mapped, 192, 0, 2, 2])
    six = row(family=10, laddr=[0] * 15 + [1], raddr=[0xFE, 0x80] + [0] * 13 + [2])
    rows = np.concatenate([four, both, six])
    assert fields.families(rows).tolist() == [4, 4, 6]
    assert fields.address_texts(rows, "laddr") == ["127.0.0.1", "192.0.2.1", "::1"]
    assert fields.address_texts(rows, "raddr") == ["10.255.0.1", "192.0.2.2", "fe80::2"]
    assert fields.address_texts(four, "raddr") == ["10.255.0.1"]
    assert fields.address_texts(rows[:0], "raddr") == []


def test_error_names() -> None:
    assert fields.error_name(0) is None
    assert fields.error_name(104) == "ECONNRESET"
    assert fields.error_name(250) == "errno 250"


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (0x300, (3, None, False)),
        (0x9, (None, "SIGKILL", False)),
        (0x8B, (None, "SIGSEGV", True)),
        (0x7E, (None, "SIG126", False)),
    ],
)
def test_exit_status(code: int, expected: tuple[int | None, str | None, bool]) -> None:
    assert fields.exit_status(code) == expected


def test_columns_of_no_rows() -> None:
    none = np.zeros(0, CLOSE)
    for column in (
        fields.end_ns,
        fields.duration_ns,
        fields.teardown_ns,
        fields.bytes_unread,
        fields.bytes_unacked,
        fields.bytes_sent,
        fields.role,
        fields.families,
    ):
        assert len(column(none)) == 0
