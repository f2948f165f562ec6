# SPDX-License-Identifier: Apache-2.0
"""The sentences of connections and subflows of MPTCP, as :mod:`tracetw.verdict.sentences` has those of TCP.

They come first: where the condition ``mptcp`` holds, FIN means DATA_FIN and RST means MP_FASTCLOSE.
"""

from __future__ import annotations

from collections.abc import Mapping

OF_MPTCP: Mapping[str, tuple[tuple[str, str], ...]] = {
    "orderly": (
        (
            "mptcp first-both",
            "Both sides sent DATA_FIN at the same time and both were acknowledged.",
        ),
        ("mptcp first-local", "{who} first, by DATA_FIN; the peer sent its own."),
        (
            "mptcp",
            "The peer closed first, by DATA_FIN; this side closed and its own was acknowledged.",
        ),
    ),
    "peer-reset": (
        (
            "mptcp",
            "The peer aborted the whole connection: its RST carried MP_FASTCLOSE with the key of this side.",
        ),
    ),
    "abort-unread": (
        (
            "mptcp unread-data",
            (
                "{who} with {unread:byte} unread, so MPTCP aborted the connection: RST with MP_FASTCLOSE on its "
                "subflows."
            ),
        ),
        (
            "mptcp",
            (
                "{who} with received data unread, so MPTCP aborted the connection: RST with MP_FASTCLOSE on its "
                "subflows."
            ),
        ),
    ),
    "abort-linger": (
        (
            "mptcp",
            "{who} with SO_LINGER 0, so MPTCP aborted the connection: RST with MP_FASTCLOSE on its subflows.",
        ),
    ),
    "abort-disconnect": (
        (
            "mptcp",
            (
                "The application dissolved the connection with connect(AF_UNSPEC): RST with MP_FASTCLOSE on its "
                "subflows."
            ),
        ),
    ),
    "abort-listener": (
        (
            "mptcp",
            "The listener closed before the connection was accepted: RST with MP_FASTCLOSE on its subflows.",
        ),
    ),
    "subflows-lost": (
        (
            "orphan",
            "The application had closed, and the last subflow ended before both DATA_FINs were done.",
        ),
        ("", "The last subflow ended, and no other came before net.mptcp.close_timeout ran out."),
    ),
    "fin-wait2-timeout": (
        (
            "mptcp",
            (
                "The peer acknowledged our DATA_FIN but sent none of its own within 60 s: MPTCP gave the closed "
                "connection up and sent RST with MP_FASTCLOSE."
            ),
        ),
    ),
    "fin-exhausted": (
        (
            "mptcp",
            (
                "The application had closed, and the connection was not over within 60 s: MPTCP gave it up and "
                "sent RST with MP_FASTCLOSE."
            ),
        ),
    ),
    "mptcp-reset": (
        ("reason-close", "MPTCP sent RST with MP_FASTCLOSE: the whole connection was aborted."),
        ("", "MPTCP ended this subflow with RST."),
    ),
}
