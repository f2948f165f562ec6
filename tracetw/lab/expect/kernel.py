# SPDX-License-Identifier: Apache-2.0
"""What the running kernel shows, as names on which an expectation may depend.

Looked at, never concluded from a version: the capabilities of the tracer (``tracetw doctor``), the
counters of ``/proc/net``, the settings of ``net.ipv4``, the drop reasons of BTF, and :data:`BEHAVIOURS`.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

from tracetw.kernel.btf import Btf
from tracetw.kernel.capability import survey
from tracetw.kernel.load.probe import ask
from tracetw.kernel.plan import kernel_names

TW_AT_BIRTH = "tw-at-birth"
MPTCP_BYTES, MPTCP_READ, MPTCP_COUNT = "mptcp-bytes", "mptcp-bytes-read", "mptcp-subflow-count"
BEHAVIOURS = {
    TW_AT_BIRTH: "TW and TWKilled are counted when the timewait socket begins, not when its timer ends it"
    " (Linux 6.0; before, struct inet_timewait_sock has a member tw_kill)",
    MPTCP_BYTES: "MPTCP counts the bytes of a connection (struct mptcp_sock has bytes_received)",
    MPTCP_READ: "MPTCP counts the bytes that were read of a connection (bytes_consumed)",
    MPTCP_COUNT: "MPTCP numbers the subflows of a connection (subflow_id)",
}
"""What no tracer changes: name to meaning."""
_MPTCP = {MPTCP_BYTES: "bytes_received", MPTCP_READ: "bytes_consumed", MPTCP_COUNT: "subflow_id"}


@cache
def shown() -> frozenset[str]:
    """Names of all that this kernel shows."""
    btf = Btf.read()
    found = {row.slug for row in survey(btf, ask(btf)) if row.present}
    found |= set(kernel_names(btf, 1).drop_reasons.values())
    for file in ("snmp", "netstat"):
        lines = Path("/proc/net", file).read_text(encoding="ascii").splitlines()
        for names in lines[::2]:
            found |= set(names.split()[1:])
    found |= {path.name for path in Path("/proc/sys/net/ipv4").iterdir()}
    if not btf.has_field("inet_timewait_sock.tw_kill"):
        found.add(TW_AT_BIRTH)
    for name, field in _MPTCP.items():
        if btf.has_field(f"mptcp_sock.{field}"):
            found.add(name)
    return frozenset(found)
