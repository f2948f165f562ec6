# SPDX-License-Identifier: Apache-2.0
"""Ends that only connections and subflows of MPTCP have."""

from __future__ import annotations

from collections.abc import Mapping

from tracetw.verdict.handbook.entry import Folklore, OnCall, Question

MPTCP: Mapping[str, OnCall] = {
    "subflows-lost": OnCall(
        "mptcp-only-subflow-killed",
        causes=(
            Question(
                "Does mptcp.subflows say peer-reset or peer-lost-state of the last one?",
                "The peer, or a box on the way in its name, reset the only way there was. Look at the peer's line "
                "of the same token or addresses.",
            ),
            Question(
                "Does it say abort-admin?",
                "Somebody destroyed the subflow, not the connection: `ss -K` selects sockets of TCP, and a subflow "
                "is one.",
                "A timer ended the last subflow: see the page of its verdict. The connection itself has no timer "
                "but net.mptcp.close_timeout.",
            ),
        ),
        settings=(
            (
                "A second way: `ip mptcp endpoint add ADDRESS dev DEVICE subflow` at the client, `ip mptcp limits "
                "set subflow 2` at both. Costs a handshake and a socket a subflow."
            ),
            (
                "net.mptcp.close_timeout (60 s): how long a connection without a subflow waits for another one. "
                "Lower it and applications learn sooner; too low, and a phone between two networks loses it."
            ),
        ),
        sure="The kernel closed the connection while no subflow of it was left in another state than CLOSE. How each "
        "of them ended is in mptcp.subflows.",
        folklore=(
            Folklore(
                "A connection of MPTCP ends with its first subflow.",
                "__mptcp_close_ssk keeps it: it goes on with the others, and without any for "
                "net.mptcp.close_timeout.",
            ),
        ),
    ),
    "mptcp-reset": OnCall(
        "mptcp-join-stripped",
        causes=(
            Question(
                "Does mptcp.fastclose say sent?",
                "The whole connection was aborted, and this subflow with it: its verdict is in the line of the "
                "connection with the same token.",
            ),
            Question(
                "Does `nstat -az MPTcpExtMPJoinSynTx MPTcpExtMPJoinSynAckRx` show more SYNs than answers with "
                "MP_JOIN?",
                "The answer to the SYN of a second subflow had no MP_JOIN: a firewall or proxy on this way takes "
                "options of MPTCP out, or the address leads to a listener of plain TCP.",
            ),
            Question(
                "Do MPTcpExtDataCsumErr or MPTcpExtMPFailTx rise?",
                "Something on the way changes the payload, and MPTCP noticed by its checksum.",
                "The kernel met data without a mapping, or refused the subflow: MPTcpExtDSSCorruptionReset, "
                "MPTcpExtMPJoinRejected and MPTcpExtMPRstTx tell which.",
            ),
        ),
        settings=(
            (
                "A way that cannot carry MPTCP: take its endpoint away (`ip mptcp endpoint delete id ID`), or let "
                "the firewall pass TCP option 30."
            ),
        ),
        sure="The subflow sent RST of its own accord: neither a segment nor a timer of TCP asked for it. That is what "
        "MPTCP does; the application holds no subflow and cannot.",
        folklore=(
            Folklore(
                "RST on a subflow with reason TCP_ABORT_ON_CLOSE means unread data.",
                "mptcp_do_fastclose gives that reason for SO_LINGER 0 and connect(AF_UNSPEC) as well; older kernels "
                "set SO_LINGER 0 on the subflow themselves.",
            ),
        ),
    ),
}
