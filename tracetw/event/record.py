# SPDX-License-Identifier: Apache-2.0
# Generated from bpf/record.h by scripts/gen-record. Change the header, not this file.
"""Layout of what leaves the kernel: NumPy dtypes, enums and flags of bpf/record.h."""

from __future__ import annotations

from enum import IntEnum

import numpy as np

RECORD_VERSION = 2
PATH_MAX = 7
AT_CLOSED = 6
SINCE_UNKNOWN = 0xFFFFFFFF

F_BORN = 1 << 0
F_CLIENT = 1 << 1
F_SERVER = 1 << 2
F_DEAD = 1 << 3
F_DONE = 1 << 4
F_LINGER0 = 1 << 5
F_OWNED = 1 << 6
F_SOCKET = 1 << 7
F_RST_IN = 1 << 8
F_RST_OUT = 1 << 9
F_RST_REPLY = 1 << 10
F_RST_REASON = 1 << 11
F_RST_EARLY = 1 << 12
F_TS_OK = 1 << 13
F_TS_SEEN = 1 << 14
F_TW = 1 << 15
F_TW_FIN_WAIT2 = 1 << 16
F_EXITING = 1 << 17
F_OOM = 1 << 18
F_KTHREAD = 1 << 19
F_ACK_PENDING = 1 << 20
F_MISSED = 1 << 21
F_CLOSE_CALLED = 1 << 22
F_RST_ACK_KNOWN = 1 << 23
F_RST_ACK = 1 << 24
F_SYSCTL = 1 << 25
F_CLOSED = 1 << 26
F_SYN_HIT = 1 << 27
F_ADDR = 1 << 28
F_FIN_ACKED = 1 << 29
F_TW_REFUSED = 1 << 30
F_SEGMENT_TIME = 1 << 31
T_QUIET = 1 << 0
T_KEEPALIVE = 1 << 1
T_URGENT = 1 << 2
T_FULL_LOST = 1 << 3
T_PART_LOST = 1 << 4
T_ICMP = 1 << 5
T_READ = 1 << 6
T_SACKED = 1 << 7
MP_CONNECTION = 1 << 0
MP_SUBFLOW = 1 << 1
MP_JOIN = 1 << 2
MP_BACKUP = 1 << 3
MP_WENT_ON = 1 << 4
MP_FALLBACK = 1 << 5
MP_FASTCLOSE_OUT = 1 << 6
MP_FASTCLOSE_IN = 1 << 7
MP_RESET_SEEN = 1 << 8
MP_NO_SUBFLOW = 1 << 9
MP_BYTES = 1 << 10
MP_READ = 1 << 11
MP_LET_GO = 1 << 12
BIND_PORT = 1 << 0
BIND_ADDR = 1 << 1
BIND_REUSEADDR = 1 << 2
BIND_KNOWN = 1 << 7
SHUT_RECEIVE = 1 << 0
SHUT_SEND = 1 << 1
SHUT_FILE_HELD = 1 << 2
SHUT_READ_FINAL = 1 << 3


class End(IntEnum):
    """``enum end``"""

    NONE = 0
    DESTROY = 1
    REUSE = 2
    FIN = 3
    RST = 4
    LATE_DATA = 5
    TIMEOUT = 6
    FULL = 7
    PENDING = 8
    STALE = 9


class Owner(IntEnum):
    """``enum owner``"""

    NONE = 0
    CONNECT = 1
    CLOSE = 2
    IO = 3
    LISTENER = 4
    DIAG = 5
    KERNEL = 6


class Layer(IntEnum):
    """``enum layer``"""

    NONE = 0
    UNKNOWN = 1
    MPTCP = 2
    SOCKMAP = 3
    TLS = 4
    ESPINTCP = 5
    SMC = 6
    ULP = 7
    KERNEL = 8


class EventKind(IntEnum):
    """``enum event_kind``"""

    TRANSITION = 1
    RETRANSMIT = 2
    TIMEWAIT = 3
    DROP = 4


class What(IntEnum):
    """``enum what``"""

    DATA = 0
    FIN = 1
    PROBE = 2
    SYN = 3


class Timewait(IntEnum):
    """``enum timewait``"""

    ENTERED = 1
    FIN_WAIT2 = 2
    OVERFLOW = 3
    REUSED_BY_CONNECT = 4
    REUSED_BY_SYN = 5
    KILLED_BY_RESET = 6
    REACKED = 7
    EXPIRED = 8


class Drop(IntEnum):
    """``enum drop``"""

    PAWS = 1
    PAWS_TIMEWAIT = 2
    CHALLENGE_ACK = 3
    OUT_OF_WINDOW_RESET = 4
    SIGNATURE_FAILURE = 5
    ACCEPT_QUEUE_FULL = 6
    REQUEST_QUEUE_FULL = 7
    SYN_COOKIE = 8
    EMBRYONIC_RESET = 9


class Stat(IntEnum):
    """``enum stat``"""

    FILTERED = 0
    LOST_CLOSES = 1
    LOST_EVENTS = 2
    CONN_FULL = 3
    CLOSING_FULL = 4
    RST_NO_SOCKET = 5
    RST_TIMEWAIT = 6
    RST_SOCKET = 7
    UNSEEN_ENDS = 8
    SECOND = 9
    END_FULL = 10
    LOST_LISTENERS = 11
    MAX = 12


CLOSE = np.dtype(
    [
        ("sk", "<u8"),
        ("at", "<u8", (7,)),
        ("bytes_sent", "<u8"),
        ("bytes_retrans", "<u8"),
        ("bytes_received", "<u8"),
        ("cgroup", "<u8"),
        ("comm", "S16"),
        ("laddr", "u1", (16,)),
        ("raddr", "u1", (16,)),
        ("bytes_acked", "<u8"),
        ("mptcp_conn", "<u8"),
        ("mptcp_token", "<u4"),
        ("icmp_from", "<u4"),
        ("srtt", "<u4"),
        ("rtt_min", "<u4"),
        ("segs_in", "<u4"),
        ("quiet", "<u4"),
        ("since_sent", "<u4"),
        ("since_received", "<u4"),
        ("mss", "<u2"),
        ("mptcp_flags", "<u2"),
        ("ttl", "u1"),
        ("rst_ttl", "u1"),
        ("mptcp_local_id", "u1"),
        ("mptcp_remote_id", "u1"),
        ("path", "<u4"),
        ("netns", "<u4"),
        ("inode", "<u4"),
        ("pid", "<u4"),
        ("uid", "<u4"),
        ("flags", "<u4"),
        ("snd_una", "<u4"),
        ("snd_nxt", "<u4"),
        ("write_seq", "<u4"),
        ("snd_wnd", "<u4"),
        ("rcv_nxt", "<u4"),
        ("copied_seq", "<u4"),
        ("retrans_stamp", "<u4"),
        ("user_timeout", "<u4"),
        ("rto", "<u4"),
        ("total_retrans", "<u4"),
        ("idle", "<u4"),
        ("probing", "<u4"),
        ("fin_timeout", "<u4"),
        ("linger2", "<i4"),
        ("rto_max", "<u4"),
        ("lport", "<u2"),
        ("rport", "<u2"),
        ("exit_code", "<u2"),
        ("traits", "u1"),
        ("layer", "u1"),
        ("mptcp_reset", "u1"),
        ("bind", "u1"),
        ("refused", "u1"),
        ("refused_reason", "u1"),
        ("err", "u1"),
        ("err_soft", "u1"),
        ("family", "u1"),
        ("old_state", "u1"),
        ("shutdown", "u1"),
        ("probes_out", "u1"),
        ("retransmits", "u1"),
        ("backoff", "u1"),
        ("fin_retrans", "u1"),
        ("reset_reason", "u1"),
        ("keepalive_probes", "u1"),
        ("sysctl_keepalive_probes", "u1"),
        ("sysctl_retries2", "u1"),
        ("sysctl_orphan_retries", "u1"),
        ("end", "u1"),
        ("owner_from", "u1"),
    ]
)
"""``struct close_record``"""

EVENT = np.dtype(
    [
        ("at", "<u8"),
        ("sk", "<u8"),
        ("born", "<u8"),
        ("cgroup", "<u8"),
        ("comm", "S16"),
        ("laddr", "u1", (16,)),
        ("raddr", "u1", (16,)),
        ("netns", "<u4"),
        ("pid", "<u4"),
        ("uid", "<u4"),
        ("flags", "<u4"),
        ("rto", "<u4"),
        ("seq", "<u4"),
        ("reason", "<u4"),
        ("backlog", "<u4"),
        ("queued", "<u4"),
        ("lport", "<u2"),
        ("rport", "<u2"),
        ("kind", "u1"),
        ("family", "u1"),
        ("from", "u1"),
        ("to", "u1"),
        ("code", "u1"),
        ("backoff", "u1"),
        ("owner_from", "u1"),
        ("pad", "u1"),
    ]
)
"""``struct event_record``"""

LISTENER_END = np.dtype(
    [
        ("at", "<u8"),
        ("cgroup", "<u8"),
        ("comm", "S16"),
        ("laddr", "u1", (16,)),
        ("netns", "<u4"),
        ("pid", "<u4"),
        ("flags", "<u4"),
        ("exit_code", "<u4"),
        ("lport", "<u2"),
        ("family", "u1"),
        ("owner_from", "u1"),
        ("pad", "u1", (4,)),
    ]
)
"""``struct listener_end``"""

CLOSE_SIZE = 312
EVENT_SIZE = 128
LISTENER_END_SIZE = 72
