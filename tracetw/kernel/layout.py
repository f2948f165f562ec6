# SPDX-License-Identifier: Apache-2.0
"""Where this kernel keeps what the hooks read, as C text made from its BTF.

One ``bpf_probe_read_kernel`` costs about as much as copying 200 bytes, so that the many fields of a
socket are read in a few windows and picked out of them.
"""

from __future__ import annotations

import errno
import platform
from dataclasses import dataclass

from tracetw.kernel.btf import Btf, BtfError, Field

__all__ = [
    "CAST_CALL",
    "FieldMissing",
    "casts",
    "constants",
    "load_facts",
    "registers",
    "timewait_answers",
]


class FieldMissing(LookupError):
    """This kernel has no such field: what was asked for cannot be traced on it."""


# Macro -> field.
OFFSETS = {
    "OFF_SKC_STATE": "sock_common.skc_state",
    "OFF_SKC_FLAGS": "sock_common.skc_flags",
    "OFF_SKC_FAMILY": "sock_common.skc_family",
    "OFF_SKC_NUM": "sock_common.skc_num",
    "OFF_SKC_DPORT": "sock_common.skc_dport",
    "OFF_SKC_DADDR": "sock_common.skc_daddr",
    "OFF_SKC_RCV_SADDR": "sock_common.skc_rcv_saddr",
    "OFF_SKC_V6_DADDR": "sock_common.skc_v6_daddr",
    "OFF_SKC_V6_RCV_SADDR": "sock_common.skc_v6_rcv_saddr",
    "OFF_SKC_NET": "sock_common.skc_net",
    "OFF_SKC_HASH": "sock_common.skc_hash",
    "OFF_SKC_NULLS_NODE": "sock_common.skc_nulls_node",
    "OFF_SK_ERR": "sock.sk_err",
    "OFF_SK_ACK_BACKLOG": "sock.sk_ack_backlog",
    "OFF_SK_MAX_ACK_BACKLOG": "sock.sk_max_ack_backlog",
    "OFF_SK_OWNED": "sock.sk_lock.owned",
    "OFF_SK_UID": "sock.sk_uid",
    "OFF_SK_PROTOCOL": "sock.sk_protocol",
    "OFF_SK_SOCKET": "sock.sk_socket",
    "OFF_INET_SPORT": "inet_sock.inet_sport",
    "OFF_ICSK_BACKOFF": "inet_connection_sock.icsk_backoff",
    "OFF_ICSK_PENDING": "inet_connection_sock.icsk_pending",
    "OFF_ICSK_RTO": "inet_connection_sock.icsk_rto",
    "OFF_ICSK_ACK_PENDING": "inet_connection_sock.icsk_ack",
    "OFF_ICSK_LRCVTIME": "inet_connection_sock.icsk_ack.lrcvtime",
    "OFF_TCP_CLOCK": "tcp_sock.tcp_clock_cache",
    "OFF_TCP_RCV_TSTAMP": "tcp_sock.rcv_tstamp",
    "OFF_TCP_LSNDTIME": "tcp_sock.lsndtime",
    "OFF_TCP_SEGS_IN": "tcp_sock.segs_in",
    "OFF_TCP_COPIED_SEQ": "tcp_sock.copied_seq",
    "OFF_TCP_URG_SEQ": "tcp_sock.urg_seq",
    "OFF_SK_ERROR_QUEUE": "sock.sk_error_queue",
    "OFF_TCP_BYTES_SENT": "tcp_sock.bytes_sent",
    "OFF_TCP_BYTES_RECEIVED": "tcp_sock.bytes_received",
    "OFF_TCP_MSS": "tcp_sock.mss_cache",
    "OFF_TW_SUBSTATE": "inet_timewait_sock.tw_substate",
    "OFF_TW_SPORT": "inet_timewait_sock.tw_sport",
    "OFF_TW_TIMER": "inet_timewait_sock.tw_timer",
    "OFF_TIMER_FUNCTION": "timer_list.function",
    "OFF_NET_INUM": "net.ns.inum",
    "OFF_NET_DEATH_ROW": "net.ipv4.tcp_death_row",
    "OFF_DEATH_ROW_HASHINFO": "inet_timewait_death_row.hashinfo",
    "OFF_DEATH_ROW_MAX": "inet_timewait_death_row.sysctl_max_tw_buckets",
    "OFF_HASHINFO_EHASH": "inet_hashinfo.ehash",
    "OFF_HASHINFO_EHASH_MASK": "inet_hashinfo.ehash_mask",
    "OFF_SKB_CB": "sk_buff.cb",
    "OFF_SKB_HEAD": "sk_buff.head",
    "OFF_SKB_DATA": "sk_buff.data",
    "OFF_SKB_LEN": "sk_buff.len",
    "OFF_SKB_DEV": "sk_buff.dev",
    "OFF_SKB_REFDST": "sk_buff._skb_refdst",
    "OFF_DST_DEV": "dst_entry.dev",
    "OFF_SKB_PROTOCOL": "sk_buff.protocol",
    "OFF_SKB_NETWORK_HEADER": "sk_buff.network_header",
    "OFF_SKB_TRANSPORT_HEADER": "sk_buff.transport_header",
    "OFF_DEV_NET": "net_device.nd_net.net",
    "OFF_CB_SEQ": "tcp_skb_cb.seq",
    "OFF_CB_TCP_FLAGS": "tcp_skb_cb.tcp_flags",
    "OFF_TASK_FLAGS": "task_struct.flags",
    "OFF_TASK_TGID": "task_struct.tgid",
    "OFF_TASK_CGROUPS": "task_struct.cgroups",
    "OFF_CSS_SET_DFL_CGRP": "css_set.dfl_cgrp",
    "OFF_CGROUP_KN": "cgroup.kn",
    "OFF_KERNFS_NODE_ID": "kernfs_node.id",
    "OFF_TASK_COMM": "task_struct.comm",
    "OFF_TASK_SIGNAL": "task_struct.signal",
    "OFF_TASK_EXIT_CODE": "task_struct.exit_code",
    "OFF_TASK_GROUP_LEADER": "task_struct.group_leader",
    "OFF_TASK_REAL_PARENT": "task_struct.real_parent",
    "OFF_TASK_VFORK_DONE": "task_struct.vfork_done",
    "OFF_TASK_START_TIME": "task_struct.start_time",
    "OFF_TASK_SELF_EXEC_ID": "task_struct.self_exec_id",
    "OFF_TASK_PARENT_EXEC_ID": "task_struct.parent_exec_id",
    "OFF_TASK_MM": "task_struct.mm",
    "OFF_MM_START_STACK": "mm_struct.start_stack",
    "OFF_SIGNAL_OOM_MM": "signal_struct.oom_mm",
    "OFF_SYSCTL_FIN_TIMEOUT": "net.ipv4.sysctl_tcp_fin_timeout",
    "OFF_SYSCTL_SYNCOOKIES": "net.ipv4.sysctl_tcp_syncookies",
    "OFF_SYSCTL_ABORT_ON_OVERFLOW": "net.ipv4.sysctl_tcp_abort_on_overflow",
    "OFF_ICSK_REQUESTS": "inet_connection_sock.icsk_accept_queue.qlen",
    "OFF_SYSCTL_RETRIES2": "net.ipv4.sysctl_tcp_retries2",
    "OFF_SYSCTL_ORPHAN_RETRIES": "net.ipv4.sysctl_tcp_orphan_retries",
    "OFF_SYSCTL_KEEPALIVE_PROBES": "net.ipv4.sysctl_tcp_keepalive_probes",
}


@dataclass(frozen=True, slots=True)
class Fact:
    """One field of the socket and where the value goes.

    Attributes:
        to: ``r->x`` writes the record, ``f->x`` a member of the local ``struct facts``.
        path: field, outermost structure first.
        type: C type of the value read.
        part: byte offset within the field (for halves of an address).
        stuck: of use only where something of ours was left unacknowledged or unsent, or an error other than
            ECONNRESET ended the connection; 0 elsewhere, where it is not read.
    """

    to: str
    path: str
    type: str
    part: int = 0
    stuck: bool = False


FACTS = (
    Fact("f->remote", "sock_common.skc_daddr", "u32"),
    Fact("f->local", "sock_common.skc_rcv_saddr", "u32"),
    Fact("f->dport", "sock_common.skc_dport", "u16"),
    Fact("f->family", "sock_common.skc_family", "u16"),
    Fact("f->net", "sock_common.skc_net", "u64"),
    Fact("f->v6_remote0", "sock_common.skc_v6_daddr", "u64"),
    Fact("f->v6_remote1", "sock_common.skc_v6_daddr", "u64", 8),
    Fact("f->v6_local0", "sock_common.skc_v6_rcv_saddr", "u64"),
    Fact("f->v6_local1", "sock_common.skc_v6_rcv_saddr", "u64", 8),
    Fact("f->sk_flags", "sock_common.skc_flags", "u64"),
    Fact("f->err", "sock.sk_err", "u32"),
    Fact("f->err_soft", "sock.sk_err_soft", "u32"),
    Fact("f->socket", "sock.sk_socket", "u64"),
    Fact("f->owned", "sock.sk_lock.owned", "u32"),
    Fact("f->protocol", "sock.sk_protocol", "u16"),
    Fact("f->lingertime", "sock.sk_lingertime", "u64"),
    Fact("f->user_data", "sock.sk_user_data", "u64"),
    Fact("r->uid", "sock.sk_uid", "u32"),
    Fact("r->shutdown", "sock.sk_shutdown", "u8"),
    Fact("f->sport", "inet_sock.inet_sport", "u16"),
    Fact("f->ulp", "inet_connection_sock.icsk_ulp_ops", "u64"),
    Fact("r->rto", "inet_connection_sock.icsk_rto", "u32"),
    Fact("r->retransmits", "inet_connection_sock.icsk_retransmits", "u8"),
    Fact("r->probes_out", "inet_connection_sock.icsk_probes_out", "u8"),
    Fact("f->lrcvtime", "inet_connection_sock.icsk_ack.lrcvtime", "u32"),
    Fact("f->probes_tstamp", "inet_connection_sock.icsk_probes_tstamp", "u32"),
    Fact("r->user_timeout", "inet_connection_sock.icsk_user_timeout", "u32", stuck=True),
    Fact("r->snd_una", "tcp_sock.snd_una", "u32"),
    Fact("r->snd_nxt", "tcp_sock.snd_nxt", "u32"),
    Fact("r->write_seq", "tcp_sock.write_seq", "u32"),
    Fact("r->snd_wnd", "tcp_sock.snd_wnd", "u32"),
    Fact("r->rcv_nxt", "tcp_sock.rcv_nxt", "u32"),
    Fact("r->copied_seq", "tcp_sock.copied_seq", "u32"),
    Fact("r->retrans_stamp", "tcp_sock.retrans_stamp", "u32", stuck=True),
    Fact("r->total_retrans", "tcp_sock.total_retrans", "u32"),
    Fact("r->linger2", "tcp_sock.linger2", "u32"),
    Fact("r->keepalive_probes", "tcp_sock.keepalive_probes", "u8", stuck=True),
    Fact("r->bytes_sent", "tcp_sock.bytes_sent", "u64"),
    Fact("r->bytes_retrans", "tcp_sock.bytes_retrans", "u64"),
    Fact("r->bytes_received", "tcp_sock.bytes_received", "u64"),
    Fact("r->bytes_acked", "tcp_sock.bytes_acked", "u64"),
    Fact("r->srtt", "tcp_sock.srtt_us", "u32"),
    # struct minmax: the first of its samples is the least, and its value is behind its time.
    Fact("r->rtt_min", "tcp_sock.rtt_min", "u32", 4),
    Fact("r->segs_in", "tcp_sock.segs_in", "u32"),
    Fact("f->mss", "tcp_sock.mss_cache", "u32"),
    Fact("f->lsndtime", "tcp_sock.lsndtime", "u32"),
    Fact("f->sacked_out", "tcp_sock.sacked_out", "u32"),
    Fact("f->urg_data", "tcp_sock.urg_data", "u16"),
    Fact("r->rto_max", "inet_connection_sock.icsk_rto_max", "u32", stuck=True),
    Fact("f->rcv_tstamp", "tcp_sock.rcv_tstamp", "u32"),
    Fact("f->rx_opt", "tcp_sock.rx_opt.saw_tstamp", "u16"),
)
# Structures that hooks read directly (GET in bpf/prelude.h).
STRUCTURES = (
    "sock_common",
    "sock",
    "inet_sock",
    "inet_connection_sock",
    "tcp_sock",
    "inet_timewait_sock",
    "inet_hashinfo",
    "net",
    "sk_buff",
    "task_struct",
    "signal_struct",
    "css_set",
    "cgroup",
    "kernfs_node",
    "timer_list",
    "mm_struct",
    "pt_regs",
    "socket",
    "socket_alloc",
    "file",
)
# No helper has this number: the loader finds the calls by it.
CAST_CALL = 1_000_001
# Fields that came later: the value is 0, unknown, where a kernel lacks them.
OPTIONAL = {
    # Linux kernel commit 9d9b1ee0b2d1 ("tcp: fix TCP_USER_TIMEOUT with zero window") (in v5.11)
    "inet_connection_sock.icsk_probes_tstamp",
    # With TCP_RTO_MAX_MS and net.ipv4.tcp_rto_max_ms (in v6.15); before, the constant TCP_RTO_MAX.
    "inet_connection_sock.icsk_rto_max",
}

_STUCK = f"(f->err && f->err != {errno.ECONNRESET}) || r->snd_una != r->write_seq"

_SIZES = {"u8": 1, "u16": 2, "u32": 4, "u64": 8}
# Bytes of stack for one window, and how far fields may lie apart to share it.
_WINDOW, _GAP = 96, 80


def _field(btf: Btf, path: str) -> Field:
    try:
        return btf.field(path)
    except BtfError as error:
        raise FieldMissing(path) from error


def constants(btf: Btf) -> dict[str, int]:
    """Offsets, sizes, bit numbers and TCP states as macros.

    Raises FieldMissing when the kernel lacks a field that nothing can replace.
    """
    values = {macro: _field(btf, path).offset for macro, path in OFFSETS.items()}
    values["OFF_SOCKET_INO"] = (
        _field(btf, "socket_alloc.vfs_inode").offset + _field(btf, "inode.i_ino").offset
    )
    values["OFF_SOCKET_FILE"] = _field(btf, "socket.file").offset
    values["OFF_FILE_DENTRY"] = _field(btf, "file.f_path.dentry").offset
    values["OFF_DENTRY_NAME"] = _field(btf, "dentry.d_name.name").offset
    # Counts references from 0 on, and is negative without any, since Linux kernel commit 90ee6ed776c0
    # ("fs: port files to file_ref") (in v6.13); before, it is their number.
    counted = btf.has_field("file.f_ref")
    values["OFF_FILE_REFS"] = _field(btf, "file.f_ref" if counted else "file.f_count").offset
    values["FILE_REFS_HELD"] = 0 if counted else 1
    # inet_twsk_alloc(): a reference counter begins with 1, the plain counter before it with 0.
    refcount = btf.has_field("inet_timewait_death_row.tw_refcount")
    name = "tw_refcount" if refcount else "tw_count"
    values["OFF_DEATH_ROW_COUNT"] = _field(btf, f"inet_timewait_death_row.{name}").offset
    values["DEATH_ROW_COUNTS_FROM"] = int(refcount)
    # Only a cast names this structure: where the compiler left it out, the ICMP error stays unknown.
    queued = btf.has_field("sock_exterr_skb.ee")
    values["OFF_EXTERR_EE"] = _field(btf, "sock_exterr_skb.ee").offset if queued else 0
    values["SIZE_EHASH_BUCKET"] = btf.size("inet_ehash_bucket")
    kern = _field(btf, "sock.sk_kern_sock")
    values["OFF_SK_KERN"] = kern.offset + kern.bit_offset // 8
    values["MASK_SK_KERN"] = 1 << kern.bit_offset % 8
    # Bit fields of four bits, or of bytes of their own.
    for macro, path in (("USERLOCKS", "sock.sk_userlocks"), ("REUSE", "sock_common.skc_reuse")):
        bits = _field(btf, path)
        values[f"OFF_SK_{macro}"] = bits.offset + bits.bit_offset // 8
        values[f"SHIFT_SK_{macro}"] = bits.bit_offset % 8
    rx_opt = _field(btf, "tcp_sock.rx_opt.saw_tstamp")
    for macro, name in (("BIT_SAW_TSTAMP", "saw_tstamp"), ("BIT_TSTAMP_OK", "tstamp_ok")):
        bit = _field(btf, f"tcp_sock.rx_opt.{name}")
        values[macro] = (bit.offset - rx_opt.offset) * 8 + bit.bit_offset
    flags = btf.enum("sock_flags")
    for name in ("DEAD", "DONE", "LINGER", "KEEPOPEN"):
        values[f"BIT_SOCK_{name}"] = flags[f"SOCK_{name}"]
    states = btf.enum_with("TCP_ESTABLISHED")
    values |= {name: number for name, number in states.items() if name != "TCP_MAX_STATES"}
    values |= {"AF_INET": 2, "AF_INET6": 10, "IPPROTO_TCP": 6}
    return values


def casts(btf: Btf) -> dict[str, int]:
    """Macros for loads through ``bpf_rdonly_cast``; empty on a kernel without it."""
    number = btf.function("bpf_rdonly_cast")
    if number is None:
        return {}
    types = {f"TYPE_{name}": btf.number(name) for name in STRUCTURES}
    macros = {"CAST_CALL": CAST_CALL, "CAST_FUNCTION": number, **types}
    if platform.machine() in _REGISTERS:
        # The helper that finds the registers is older than the cast (v5.15).
        macros["OFF_REGS_SP"] = _field(btf, "pt_regs.sp").offset
    return macros


# By architecture, the registers of the first five arguments and of the result: fields of struct
# pt_regs, and the places in the array that some have there.
_REGISTERS = {
    "x86_64": (
        ("pt_regs.di", 0),
        ("pt_regs.si", 0),
        ("pt_regs.dx", 0),
        ("pt_regs.cx", 0),
        ("pt_regs.r8", 0),
        ("pt_regs.ax", 0),
    ),
    "aarch64": (*(("pt_regs.regs", place) for place in range(5)), ("pt_regs.regs", 0)),
}


def registers(btf: Btf) -> dict[str, int]:
    """Where a probe finds arguments and result, as macros; FieldMissing where we do not know."""
    machine = platform.machine()
    if machine not in _REGISTERS:
        raise FieldMissing(f"pt_regs of {machine}")
    macros = (*(f"OFF_REGS_ARG{number}" for number in range(5)), "OFF_REGS_RESULT")
    return {
        macro: _field(btf, path).offset + 8 * place
        for macro, (path, place) in zip(macros, _REGISTERS[machine], strict=True)
    }


def timewait_answers(btf: Btf) -> dict[str, int]:
    """What ``tcp_timewait_state_process`` returns, as macros."""
    return btf.enum("tcp_tw_status")


def load_facts(btf: Btf, *, direct: bool) -> str:
    """C text of ``struct facts`` and ``load_facts(struct facts *, struct close_record *, sk)``.

    Args:
        btf: of the kernel.
        direct: the kernel has ``bpf_rdonly_cast``: load each field; else read in windows.
    """
    members, placed, absent = [], [], []
    for fact in FACTS:
        if fact.to.startswith("f->"):
            members.append(f"\t{fact.type} {fact.to[3:]};")
        if fact.path in OPTIONAL and not btf.has_field(fact.path):
            absent.append(f"\t{fact.to} = 0;")
            continue
        field = _field(btf, fact.path)
        if fact.path == "sock.sk_protocol" and field.bit_size:
            # Linux kernel commit bf9765145b85 ("sock: Make sk_protocol a 16-bit value") (in v5.6)
            raise FieldMissing(fact.path)
        placed.append((field.offset + fact.part, fact))
    lines = ["struct facts {", *members, "};", ""]
    lines += [
        "static __always_inline void load_facts(struct facts *f, struct close_record *r,",
        "\t\t\t\t       const void *sk)",
        "{",
        *absent,
    ]
    if direct:
        lines.append("\tu64 t = cast_to(sk, TYPE_tcp_sock);\n")
        loads = {fact: f"{fact.to} = *({fact.type} *)(t + {offset});" for offset, fact in placed}
        always = [f"\t{load}" for fact, load in loads.items() if not fact.stuck]
        stuck = [f"\t\t{load}" for fact, load in loads.items() if fact.stuck]
        lines += [*always, f"\tif ({_STUCK}) {{", *stuck, "\t} else {"]
    else:
        for window in _windows(placed):
            lines += _read(window)
        lines.append(f"\tif (!({_STUCK})) {{")
    lines += [f"\t\t{fact.to} = 0;" for _, fact in placed if fact.stuck]
    return "\n".join([*lines, "\t}", "}", ""])


def _windows(placed: list[tuple[int, Fact]]) -> list[list[tuple[int, Fact]]]:
    windows: list[list[tuple[int, Fact]]] = []
    start = end = -1
    for offset, fact in sorted(placed, key=lambda item: item[0]):
        after = offset + _SIZES[fact.type]
        if not windows or offset - end > _GAP or after - start > _WINDOW:
            windows.append([])
            start = offset & ~7
        windows[-1].append((offset, fact))
        end = max(end, after)
    return windows


def _read(window: list[tuple[int, Fact]]) -> list[str]:
    start = window[0][0] & ~7
    size = max(offset + _SIZES[fact.type] for offset, fact in window) - start
    lines = [
        "\t{",
        f"\t\tu64 w[{(size + 7) // 8}];",
        "",
        f"\t\tbpf_probe_read_kernel(w, {size}, sk + {start});",
    ]
    for offset, fact in window:
        at = f"(u8 *)w + {offset - start}"
        lines.append(f"\t\t{fact.to} = *({fact.type} *)({at});")
    return [*lines, "\t}"]
