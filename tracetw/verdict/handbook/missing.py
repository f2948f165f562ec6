# SPDX-License-Identifier: Apache-2.0
"""What to do about each fact that an undetermined end lacked."""

from __future__ import annotations

from collections.abc import Mapping

REMEDIES: Mapping[str, str] = {
    "rst-flags": "Use a kernel with function probes (fentry or kprobes, 5.11 and newer: `reset_flags` in "
    "`tracetw doctor`), or keep net.ipv4.tcp_timestamps on at both ends. Now: `tcpdump` the RST; with ACK "
    "read peer-reset, without it peer-lost-state.",
    "reset-answer": "Read it as abort-late-data if data arrived after close() (a capture shows our RST), as peer-reset "
    "or peer-lost-state if a RST arrived. The record left before the kernel answered, because a table was full: "
    "filter in the kernel.",
    "reset-sent": "Look for our RST in a capture. With it, `evidence` says which verdict to read: unread-data "
    "abort-unread, linger-zero abort-linger, unaccepted abort-listener, in-call abort-disconnect, error-aborted "
    "abort-admin. Without it, TCP_REPAIR (checkpoint and restore) took the socket away without a packet.",
    "mini-socket-end": "Trace at the peer: its line says whether it sent FIN, RST or data. Here the kernel "
    "may lack the hook (`packet_drop`, `timer_expire` in `tracetw doctor`), or the table of waiting closes "
    "was full.",
    "peer-fin": "Raise net.ipv4.tcp_max_tw_buckets: the kernel had no bucket left, dropped the socket and "
    "answered the peer's FIN with RST. See [overflow](overflow.md).",
    "unanswered-segment": "The error says timeout, but nothing of ours waited for an answer when CLOSE came. "
    "Trace with `--events retransmit`, and look at the timer in `ss -tno` while such a connection lives.",
    "retransmissions": "Something was unacknowledged, but the kernel counted no retransmission timeout. Trace "
    "with `--events retransmit`: if the same segment repeats, read it as retransmit-exhausted.",
    "netns-state": "Look whether a container stopped at that time (then read namespace-gone), and whether "
    "`dmesg` says `out of memory` or TCPAbortOnMemory grew (then read abort-memory).",
    "close-event": "The program at inet_sock_set_state missed this CLOSE. If `lost` in the summary counts it, "
    "filter in the kernel (`--port`, `--addr`, `--netns`). If `lost` is 0, the kernel did not run it (README, "
    "Limits): a filter does not help, only a trace on the peer.",
    "cause": "Trace at the peer, and with `--transitions` here: the states before CLOSE say how far the "
    "close had come.",
}
"""Name in ``MISSING`` to the action; a text that names verdicts means their pages."""
