# SPDX-License-Identifier: Apache-2.0
"""Columns decoded from close records, shared by rules, sinks and filters.

Pure functions over batches of records (dtype ``record.CLOSE``): one array of the batch's length
each, no Python per row unless said. Times are nanoseconds of CLOCK_MONOTONIC, -1 where unknown.
"""

from __future__ import annotations

import errno
import signal
from collections.abc import Callable
from enum import IntEnum
from functools import lru_cache
from ipaddress import IPv6Address
from socket import inet_ntoa
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tracetw.event.names import KernelNames
from tracetw.event.record import (
    F_BORN,
    F_CLIENT,
    F_DEAD,
    F_DONE,
    F_MISSED,
    F_OWNED,
    F_RST_IN,
    F_RST_OUT,
    F_RST_REPLY,
    F_SERVER,
    F_SOCKET,
    F_TW,
    MP_BYTES,
    MP_CONNECTION,
    MP_FALLBACK,
    MP_READ,
    PATH_MAX,
    SHUT_READ_FINAL,
    T_READ,
    Layer,
)

Rows: TypeAlias = NDArray[np.void]
"""Records, of dtype ``CLOSE`` or ``EVENT``."""

ROLES: tuple[str | None, ...] = (None, "client", "server")

_AF_INET = 2
_SHOWN_AS_IPV4 = 4
_V4_MAPPED = bytes(10) + b"\xff\xff"
_NO_FIN, _UNSEEN = -2, -1
# As plain numbers: to compare an array with a member of an enum takes five times as long.
_TLS, _SOCKMAP, _MPTCP = int(Layer.TLS), int(Layer.SOCKMAP), int(Layer.MPTCP)
_EVERY_NIBBLE = 0x11111111
_IN_USE = (1 << 4 * PATH_MAX) - 1


class State(IntEnum):
    """TCP states.

    These numbers are user space ABI (``BPF_TCP_*`` in include/uapi/linux/bpf.h, held equal to the
    kernel's own by BUILD_BUG_ON in tcp_set_state), so rules may use them; names for people come
    from ``KernelNames``.
    """

    ESTABLISHED = 1
    SYN_SENT = 2
    SYN_RECV = 3
    FIN_WAIT1 = 4
    FIN_WAIT2 = 5
    TIME_WAIT = 6
    CLOSE = 7
    CLOSE_WAIT = 8
    LAST_ACK = 9
    LISTEN = 10
    CLOSING = 11


_FIN_STATES = (
    State.FIN_WAIT1,
    State.FIN_WAIT2,
    State.CLOSE_WAIT,
    State.LAST_ACK,
    State.CLOSING,
    State.TIME_WAIT,
)


@lru_cache(maxsize=64)
def among(*numbers: int) -> NDArray[np.bool_]:
    """Of each number of 8 bits (a state, a verdict), whether it is one of these."""
    table = np.zeros(256, np.bool_)
    table[[*numbers]] = True
    table.flags.writeable = False
    return table


OPENING = among(State.SYN_SENT, State.SYN_RECV)
"""The states in which a connection is being opened, as :func:`among` gives them."""
FIN_SENT = among(State.FIN_WAIT1, State.FIN_WAIT2, State.CLOSING, State.LAST_ACK)
FIN_ON_ITS_WAY = among(State.FIN_WAIT1, State.CLOSING, State.LAST_ACK)
"""Those in which our FIN was sent and not acknowledged, likewise."""
# A first FIN leads to one of these. The other FIN states come second: a path that begins with one
# of them says nothing about the time of the first FIN.
_FIRST_FIN = (State.FIN_WAIT1, State.CLOSE_WAIT)


@lru_cache(maxsize=1024)
def path_states(path: int) -> tuple[int, ...]:
    """States of one ``path``, oldest first; ``at[i]`` belongs to the i-th."""
    states = [path >> shift & 15 for shift in range(28, -1, -4)]
    return tuple(state for state in states if state)[-PATH_MAX:]


def state_names(path: int, names: KernelNames) -> tuple[str, ...]:
    """States of one ``path`` by name, oldest first; an unknown one as its number."""
    known = names.tcp_states
    return tuple(known.get(state) or str(state) for state in path_states(path))


def depth(path: NDArray[np.uint32]) -> NDArray[np.intp]:
    """Number of states in each path: ``at[:depth]`` are in use."""
    # frexp's exponent of an integer is its length in bits; every state has 4.
    bits = np.frexp(path.astype(np.float64))[1]
    count: NDArray[np.intp] = np.minimum(bits + 3 >> 2, PATH_MAX).astype(np.intp)
    return count


def end_ns(rows: Rows) -> NDArray[np.int64]:
    """Time of the last state entered; -1 unknown."""
    return _time_at(rows, depth(rows["path"]))


def time_in(rows: Rows, state: int) -> NDArray[np.int64]:
    """Time when each connection entered ``state`` last; -1 if never or unknown."""
    path = np.ascontiguousarray(rows["path"])
    zero = zero_nibbles(path ^ np.uint32(state * _EVERY_NIBBLE)) & np.uint32(_IN_USE)
    # The lowest one is that of the last time; as many states were entered after it as nibbles are below.
    after = (np.frexp((zero & ~zero + np.uint32(1)).astype(np.float64))[1] >> 2) - 1
    return _time_at(rows, np.where(zero != 0, depth(path) - after, 0))


def zero_nibbles(words: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The highest bit of each nibble that is zero: up to the lowest of them no other bit is set, above it some may be."""
    found: NDArray[np.uint32] = (words - np.uint32(_EVERY_NIBBLE)) & ~words
    return found & np.uint32(_EVERY_NIBBLE << 3)


def _time_at(rows: Rows, place: NDArray[np.intp]) -> NDArray[np.int64]:
    """Time of a state of each path, counted from 1; -1 where there is none, or it is unknown."""
    at = rows["at"][np.arange(len(rows)), np.maximum(place, 1) - 1].view(np.int64)
    return np.where((place > 0) & (at > 0), at, -1)


def duration_ns(rows: Rows) -> NDArray[np.int64]:
    """Whole life; -1 for a connection that began before the trace."""
    born = rows["at"][:, 0].astype(np.int64)
    end = end_ns(rows)
    known = ((rows["flags"] & F_BORN) != 0) & (born > 0) & (end >= born)
    return np.where(known, end - born, -1)


def teardown_ns(rows: Rows) -> NDArray[np.int64]:
    """First FIN or RST to the end; -1 if there was none or its time is unknown.

    A RST ends a connection at once, so a life without FIN that a RST ended has 0.
    """
    place = by_path(rows["path"], _first_fin)
    first = rows["at"][np.arange(len(rows)), np.maximum(place, 0)].astype(np.int64)
    end = end_ns(rows)
    reset = (rows["flags"] & (F_RST_IN | F_RST_OUT | F_RST_REPLY)) != 0
    none = np.where(reset, 0, -1)
    timed = np.where((first > 0) & (end >= first), end - first, -1)
    return np.where(place == _NO_FIN, none, np.where(place >= 0, timed, -1))


@lru_cache(maxsize=1024)
def _first_fin(path: int) -> int:
    states = path_states(path)
    fins = [at for at, state in enumerate(states) if state in _FIN_STATES]
    if not fins:
        return _NO_FIN
    return fins[0] if states[fins[0]] in _FIRST_FIN else _UNSEEN


def by_path(path: NDArray[np.uint32], value: Callable[[int], int]) -> NDArray[np.intp]:
    """``value`` of each path, asked once for each different one."""
    if len(path) and (path == path[0]).all():
        return np.full(len(path), value(int(path[0])), np.intp)
    paths = np.unique(path)
    values = np.array([value(one) for one in paths.tolist()], np.intp)
    # An order of the batch costs ten times as much as looking each one up.
    found: NDArray[np.intp] = values[np.searchsorted(paths, path)]
    return found


def outstanding(rows: Rows) -> NDArray[np.int32]:
    """``snd_nxt - snd_una``: sequence space sent and not acknowledged, SYN and FIN included."""
    ahead: NDArray[np.uint32] = np.subtract(rows["snd_nxt"], rows["snd_una"], dtype=np.uint32)
    return ahead.view(np.int32)


def unsent(rows: Rows) -> NDArray[np.int32]:
    """``write_seq - snd_nxt``: sequence space queued and never sent, FIN included."""
    ahead: NDArray[np.uint32] = np.subtract(rows["write_seq"], rows["snd_nxt"], dtype=np.uint32)
    return ahead.view(np.int32)


def bytes_unread(rows: Rows) -> NDArray[np.int64]:
    """Payload received in order and not read by the application; -1 unknown.

    ``rcv_nxt - copied_seq``; a FIN received (F_DONE) counts one there until it is read. While a
    connection is being opened both numbers are still being set: none. Unknown while the application
    may still read (a RST or the TIME_WAIT of a socket that it has not closed), and where a sockmap
    took the data past TCP.
    """
    flags, shutdown = rows["flags"], rows["shutdown"]
    let_go = (flags & F_DEAD != 0) | (flags & F_SOCKET == 0) | (shutdown & SHUT_READ_FINAL != 0)
    # Inside close() or connect(AF_UNSPEC).
    in_call = (flags & (F_OWNED | F_TW) == F_OWNED) & (rows["err"] == 0)
    final = (let_go | in_call) & ~past_tcp(rows) & ~_reading_hidden(rows)
    ahead: NDArray[np.uint32] = np.subtract(rows["rcv_nxt"], rows["copied_seq"], dtype=np.uint32)
    fin = (rows["flags"] & F_DONE) != 0
    opening = OPENING[rows["old_state"]]
    unread = np.where(opening, 0, np.maximum(ahead.view(np.int32).astype(np.int64) - fin, 0))
    return np.where(final | opening, unread, -1)


def past_tcp(rows: Rows) -> NDArray[np.bool_]:
    """Whether a sockmap may have carried data that TCP's own counts of payload do not have."""
    layer, flags = rows["layer"], rows["mptcp_flags"]
    if not layer.any():
        return np.zeros(len(rows), np.bool_)
    past: NDArray[np.bool_] = layer == _SOCKMAP
    # Before v6.5 nobody counts those of a connection of MPTCP.
    past |= (layer == _MPTCP) & (flags & (MP_CONNECTION | MP_BYTES) == MP_CONNECTION)
    return past


def _reading_hidden(rows: Rows) -> NDArray[np.bool_]:
    """Whether what stood above TCP holds what the application has not read, and does not tell of it."""
    layer, flags = rows["layer"], rows["mptcp_flags"]
    if not layer.any() and not flags.any():
        return np.zeros(len(rows), np.bool_)
    hidden: NDArray[np.bool_] = layer == _TLS
    hidden |= (layer == _MPTCP) & (flags & (MP_CONNECTION | MP_READ) == MP_CONNECTION)
    # The socket of MPTCP holds the data of a connection that fell back, too.
    hidden |= flags & (MP_FALLBACK | MP_READ) == MP_FALLBACK
    return hidden


def bytes_unacked(rows: Rows) -> NDArray[np.int64]:
    """Payload sent and not acknowledged by the peer.

    ``snd_nxt - snd_una`` counts a FIN as one byte: subtract it when the state says that one was sent, after
    all data (``snd_nxt == write_seq``). So does a SYN, which TCP Fast Open sends with data (tcp_send_syn_data); the
    socket that a SYN made begins behind its SYN+ACK (tcp_create_openreq_child).
    """
    ahead = outstanding(rows).astype(np.int64)
    state = rows["old_state"]
    fin = FIN_ON_ITS_WAY[state] & (rows["snd_nxt"] == rows["write_seq"])
    syn = OPENING[state] & ((rows["flags"] & F_SERVER) == 0)
    unacked: NDArray[np.int64] = np.maximum(ahead - fin - syn, 0)
    return unacked


def bytes_sent(rows: Rows) -> NDArray[np.int64]:
    """Payload sent, each byte once: ``bytes_sent`` of the kernel counts repetitions.

    It counts as well what this host could not send and tried again (__tcp_transmit_skb counts first and sends then):
    never more was sent than was acknowledged and is outstanding.
    """
    once: NDArray[np.int64] = rows["bytes_sent"].astype(np.int64) - rows["bytes_retrans"].astype(
        np.int64
    )
    flags, state = rows["flags"], rows["old_state"]
    space = rows["bytes_acked"].astype(np.int64) + outstanding(rows)
    fin = FIN_SENT[state] & (rows["snd_nxt"] == rows["write_seq"])
    most = space - fin - ((flags & F_CLIENT) != 0)
    known = ((rows["traits"] & T_READ) != 0) & ((flags & F_MISSED) == 0)
    return np.maximum(np.where(known, np.minimum(once, most), once), 0)


def bytes_received(rows: Rows) -> NDArray[np.int64]:
    """Payload received in order.

    ``tcp_sock.bytes_received`` grows with ``rcv_nxt`` (tcp_rcv_nxt_update), so the peer's FIN is
    one of it.
    """
    fin = (rows["flags"] & F_DONE) != 0
    received: NDArray[np.int64] = np.maximum(rows["bytes_received"].astype(np.int64) - fin, 0)
    return received


def role(rows: Rows) -> NDArray[np.uint8]:
    """Index in ``ROLES``."""
    flags = rows["flags"]
    server = (flags & F_SERVER) != 0
    client = (flags & F_CLIENT) != 0
    return np.where(client, 1, np.where(server, 2, 0)).astype(np.uint8)


def jiffies_to_ms(jiffies: NDArray[Any], names: KernelNames) -> NDArray[np.int64]:
    """Milliseconds of a jiffies column."""
    return jiffies.astype(np.int64) * 1000 // names.hz


def rto_ms(rows: Rows, names: KernelNames) -> NDArray[np.int64]:
    """Last retransmission timeout; 0 unknown."""
    return jiffies_to_ms(rows["rto"], names)


def families(rows: Rows) -> NDArray[np.uint8]:
    """4 or 6 as shown: an IPv4 connection of an IPv6 socket is IPv4."""
    shown = np.where(rows["family"] == _AF_INET, 4, 6).astype(np.uint8)
    six = np.flatnonzero(shown == 6)  # noqa: PLR2004
    if len(six):
        prefix = np.frombuffer(_V4_MAPPED, np.uint8)
        mapped = [(rows[name][six, :12] == prefix).all(axis=1) for name in ("laddr", "raddr")]
        shown[six[mapped[0] & mapped[1]]] = 4
    return shown


@lru_cache(maxsize=8192)
def _v6(packed: bytes) -> str:
    return str(IPv6Address(packed))


def address_texts(rows: Rows, column: str) -> list[str]:
    """Addresses of ``laddr`` or ``raddr`` as shown, v4-mapped ones as IPv4. Python per row."""
    shown = families(rows) == _SHOWN_AS_IPV4
    texts = _dotted(ipv4_packed(rows, column))
    if not shown.all():
        six = np.ascontiguousarray(rows[column]).view("V16")[:, 0]
        for at in np.flatnonzero(~shown).tolist():
            texts[at] = _v6(six[at].tobytes())
    return texts


def _dotted(packed: NDArray[np.uint32]) -> list[str]:
    return [inet_ntoa(four) for four in packed.astype(">u4").view("V4").tolist()]


def ipv4_packed(rows: Rows, column: str) -> NDArray[np.uint32]:
    """Addresses of ``laddr`` or ``raddr`` of rows whose ``families`` are 4; of others it means nothing."""
    words = np.ascontiguousarray(rows[column]).view(">u4")
    packed: NDArray[np.uint32] = np.where(rows["family"] == _AF_INET, words[:, 0], words[:, 3])
    return packed


def ipv4_texts(packed: NDArray[Any]) -> list[str]:
    """IPv4 addresses, each a number in network order, as shown. Python per row."""
    return _dotted(np.ascontiguousarray(packed).view(">u4"))


def error_name(number: int) -> str | None:
    """``ECONNRESET`` for 104; None for 0; a number without a name as ``errno 999``."""
    if not number:
        return None
    return errno.errorcode.get(number) or f"errno {number}"


def exit_status(code: int) -> tuple[int | None, str | None, bool]:
    """(exit code, signal name, core dumped) of a wait(2) status; one of the first two is None."""
    number = code & 127
    if not number:
        return code >> 8 & 255, None, False
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"SIG{number}"
    return None, name, bool(code & 128)
