# SPDX-License-Identifier: Apache-2.0
"""Where this kernel keeps what stands above TCP, as macros: upper layer protocols, sockmap, MPTCP.

All of it is optional: a kernel that lacks a structure or a field gets no macro, and the programs do without.
"""

from __future__ import annotations

from tracetw.kernel.btf import Btf, BtfError
from tracetw.kernel.layout import FieldMissing

_COMMON = {
    "OFF_ICSK_ULP_OPS": "inet_connection_sock.icsk_ulp_ops",
    "OFF_ICSK_ULP_DATA": "inet_connection_sock.icsk_ulp_data",
    "OFF_ULP_NAME": "tcp_ulp_ops.name",
    "OFF_SK_USER_DATA": "sock.sk_user_data",
}
_PSOCK = {"OFF_PSOCK_SK": "sk_psock.sk"}

# Without one of these no connection of MPTCP is reported, and its subflows are only marked as such.
_MPTCP = {
    "OFF_MSK_TOKEN": "mptcp_sock.token",
    "OFF_MSK_WRITE_SEQ": "mptcp_sock.write_seq",
    "OFF_MSK_SND_NXT": "mptcp_sock.snd_nxt",
    "OFF_MSK_SND_UNA": "mptcp_sock.snd_una",
    "OFF_MSK_ACK_SEQ": "mptcp_sock.ack_seq",
    "OFF_MSK_DATA_FIN_SEQ": "mptcp_sock.rcv_data_fin_seq",
    "OFF_MSK_RCV_FASTCLOSE": "mptcp_sock.rcv_fastclose",
    "OFF_MSK_CONN_LIST": "mptcp_sock.conn_list",
    "OFF_MSK_FIRST": "mptcp_sock.first",
    "OFF_SUBFLOW_NODE": "mptcp_subflow_context.node",
    "OFF_SUBFLOW_TOKEN": "mptcp_subflow_context.token",
    "OFF_SUBFLOW_CONN": "mptcp_subflow_context.conn",
    "OFF_SUBFLOW_TCP_SOCK": "mptcp_subflow_context.tcp_sock",
    "OFF_SUBFLOW_REMOTE_ID": "mptcp_subflow_context.remote_id",
    "OFF_SUBFLOW_LOCAL_ID": "mptcp_subflow_context.local_id",
    "OFF_SK_SHUTDOWN": "sock.sk_shutdown",
    "OFF_SK_LINGERTIME": "sock.sk_lingertime",
    "OFF_SK_ERR_SOFT": "sock.sk_err_soft",
}
_MPTCP_BITS = {
    "SUBFLOW_MP_CAPABLE": "mptcp_subflow_context.mp_capable",
    "SUBFLOW_MP_JOIN": "mptcp_subflow_context.mp_join",
    "SUBFLOW_REQUEST_JOIN": "mptcp_subflow_context.request_join",
    "SUBFLOW_BACKUP": "mptcp_subflow_context.backup",
}
# Linux kernel commit "mptcp: track some aggregate data counters" (in v6.5)
_MPTCP_BYTES = {
    "OFF_MSK_BYTES_SENT": "mptcp_sock.bytes_sent",
    "OFF_MSK_BYTES_RETRANS": "mptcp_sock.bytes_retrans",
    "OFF_MSK_BYTES_RECEIVED": "mptcp_sock.bytes_received",
}
# What the application has read of bytes_received.
_MPTCP_READ = {"OFF_MSK_BYTES_CONSUMED": "mptcp_sock.bytes_consumed"}
_MPTCP_COUNT = {"OFF_MSK_SUBFLOW_ID": "mptcp_sock.subflow_id"}
_MPTCP_RESET = {
    "SUBFLOW_RESET_SEEN": "mptcp_subflow_context.reset_seen",
    "SUBFLOW_RESET_REASON": "mptcp_subflow_context.reset_reason",
}
_MPTCP_QUEUED = {"MSK_IN_ACCEPT_QUEUE": "mptcp_sock.in_accept_queue"}
_MPTCP_FASTCLOSE = {"SUBFLOW_SEND_FASTCLOSE": "mptcp_subflow_context.send_fastclose"}
# MPTCP_FALLBACK_DONE of mptcp_sock.flags is no enum, so not in BTF, and its number changed. It is 2 where the lock is that
# guards it since the numbers last changed (fallback_lock, and pending_state, which came after them).
_MPTCP_FALLBACK = ("mptcp_sock.fallback_lock", "mptcp_sock.pending_state")
_FALLBACK_DONE = 2


def _offsets(btf: Btf, paths: dict[str, str]) -> dict[str, int]:
    """All of them, or none if one is not there."""
    try:
        return {macro: btf.field(path).offset for macro, path in paths.items()}
    except BtfError:
        return {}


def _bits(btf: Btf, paths: dict[str, str]) -> dict[str, int]:
    """Byte, lowest bit and mask of bit fields: all or none."""
    values: dict[str, int] = {}
    try:
        for macro, path in paths.items():
            field = btf.field(path)
            shift = field.bit_offset % 8
            values[f"OFF_{macro}"] = field.offset + field.bit_offset // 8
            values[f"SHIFT_{macro}"] = shift
            values[f"MASK_{macro}"] = (1 << (field.bit_size or 8)) - 1
    except BtfError:
        return {}
    return values


def layers(btf: Btf) -> dict[str, int]:
    """Offsets and masks of what stands above TCP; ``HAVE_MPTCP`` where BTF has the fields of its connections.

    Raises FieldMissing when TCP has no place for an upper layer (before v4.13).
    """
    values = _offsets(btf, _COMMON)
    if not values:
        raise FieldMissing(", ".join(_COMMON.values()))
    values |= _offsets(btf, _PSOCK)
    mptcp = _offsets(btf, _MPTCP)
    bits = _bits(btf, _MPTCP_BITS)
    if not mptcp or not bits:
        return values
    values |= mptcp | bits | {"HAVE_MPTCP": 1, "IPPROTO_MPTCP": 262}
    for name, found in (
        ("BYTES", _offsets(btf, _MPTCP_BYTES)),
        ("READ", _offsets(btf, _MPTCP_READ)),
        ("COUNT", _offsets(btf, _MPTCP_COUNT)),
        ("RESET", _bits(btf, _MPTCP_RESET)),
        ("QUEUED", _bits(btf, _MPTCP_QUEUED)),
        ("FASTCLOSE", _bits(btf, _MPTCP_FASTCLOSE)),
    ):
        if found:
            values |= found | {f"HAVE_MPTCP_{name}": 1}
    if all(btf.has_field(path) for path in _MPTCP_FALLBACK):
        values["OFF_MSK_FLAGS"] = btf.field("mptcp_sock.flags").offset
        values["MASK_MSK_FALLBACK"] = 1 << _FALLBACK_DONE
    return values
