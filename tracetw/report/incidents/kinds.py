# SPDX-License-Identifier: Apache-2.0
"""Kinds of incidents: the meaning, the title and the advice of each. The only list."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class IncidentKind:
    """One kind.

    Attributes:
        code: the identifier everywhere.
        meaning: when it is named.
        title: ``{who}`` acted, ``{service}`` was hit, ``{how}`` a process died.
        advice: what to do; empty: that of its most frequent verdict.
    """

    code: str
    meaning: str
    title: str
    advice: str = ""


KINDS: dict[str, IncidentKind] = {
    kind.code: kind
    for kind in (
        IncidentKind(
            "kill",
            "A process died of a signal that does not ask it to end, with connections or a listener open.",
            "{who} was killed by {how}",
            "Find who sent the signal, or the core dump (coredumpctl): journalctl of that second. A listener that another "
            "process keeps open (socket activation, SO_REUSEPORT) refuses nobody meanwhile.",
        ),
        IncidentKind(
            "oom",
            "The kernel killed a process for lack of memory, with connections or a listener open.",
            "{who} was killed for lack of memory",
            "Look at dmesg for the group that ran out (memory.max of its cgroup, or the host), and at what grew.",
        ),
        IncidentKind(
            "crash-loop",
            "A program died three times or more, with no minute between two deaths.",
            "{who} died {deaths} times",
            "Look at why it dies soon after its start (journalctl, coredumpctl); meanwhile take it out of the load balancer.",
        ),
        IncidentKind(
            "restart",
            "A process that was asked to end, or exited, cut connections; another one served its port afterwards.",
            "{who} was restarted and cut connections",
            "Let it drain: stop accepting, finish what is open, then exit; hand the listener to the next process.",
        ),
        IncidentKind(
            "deploy",
            "A port was refused while one process had stopped listening and the next had not begun; what was open ended in "
            "order.",
            "{who} was replaced, and {service} refused connections meanwhile",
            "Let the next process listen before the old one stops: hand the listener over, or use SO_REUSEPORT.",
        ),
        IncidentKind(
            "stop",
            "A process that was asked to end, or exited, cut connections, and nothing served its port again.",
            "{who} ended and cut connections",
            "If it was meant, let it drain first. If not, look at what stopped it: journalctl of that second.",
        ),
        IncidentKind(
            "service-down",
            "A port refused connections, and nothing recorded says why.",
            "{service} refused connections",
        ),
        IncidentKind(
            "path",
            "Segments between two hosts that were both there did not arrive.",
            "what was sent to {service} did not arrive",
            "Look at what was changed on the path in that second: firewall rules of both hosts (nft list ruleset), security "
            "groups, routes.",
        ),
        IncidentKind(
            "peer-down",
            "A peer answered no more on any port that was used, until the end.",
            "{service} answered no more",
            "Look at that host: power, its link, its address. A lower net.ipv4.tcp_syn_retries and TCP_USER_TIMEOUT find "
            "it sooner.",
        ),
        IncidentKind(
            "silent",
            "A peer no longer answered, and nothing recorded says whether it or the path failed.",
            "{service} stopped answering",
        ),
        IncidentKind(
            "ports-exhausted",
            "connect() found no local port.",
            "no local port was free for {service}",
        ),
        IncidentKind(
            "accept-queue",
            "Attempts to connect were not answered while the accept queue of the listener was full.",
            "the accept queue of {service} was full",
            "Find what kept the process from accept(); a larger backlog (listen(), net.core.somaxconn) only bridges bursts.",
        ),
        IncidentKind(
            "forgotten",
            "Idle connections met a RST or silence when they were used again, while others with that peer were in order.",
            "something on the path, or the peer, forgot idle connections to {service}",
            "Look for what keeps state on the path (NAT, firewall, load balancer) and its idle timeout; send keepalives "
            "more often than that.",
        ),
        IncidentKind(
            "idle-timeout",
            "One side closed idle connections just when the other used them.",
            "idle connections to {service} were closed just when they were used",
            "Let the side that sends requests give idle connections up sooner than the other side does.",
        ),
        IncidentKind(
            "slow-consumer",
            "Data waited for a window that the receiver kept closed, until a limit ran out or the sender gave up.",
            "{service} did not read what was sent to it",
            "Look at the receiver: it stopped reading. Limit what is queued for one that is slow.",
        ),
        IncidentKind(
            "resets", "Many resets from peers, more than before.", "{who} reset connections"
        ),
        IncidentKind(
            "lost-state",
            "Many peers no longer knew connections, more than before.",
            "{who} no longer knew its connections",
        ),
        IncidentKind(
            "aborts",
            "A process cut many connections, more than before.",
            "{who} cut connections with RST",
        ),
        IncidentKind(
            "half-closed", "Peers did not close their ends.", "{who} never closed its end"
        ),
        IncidentKind(
            "listener",
            "A listener was closed with connections in its accept queue.",
            "{who} closed its listener on connections not yet accepted",
        ),
        IncidentKind(
            "memory",
            "The kernel gave sockets up for lack of memory.",
            "{who} gave up sockets for lack of memory",
        ),
        IncidentKind(
            "admin",
            "Sockets were destroyed from outside.",
            "sockets of {who} were destroyed from outside",
        ),
        IncidentKind(
            "blocked",
            "Packets did not leave a host.",
            "{who} could not send: its packets never left it",
        ),
        IncidentKind(
            "unreachable", "The network said that a peer is unreachable.", "{who} was unreachable"
        ),
        IncidentKind(
            "failed", "Many calls of connect() failed on their own host.", "{who} could not connect"
        ),
        IncidentKind(
            "mptcp",
            "Many connections of MPTCP lost their subflows.",
            "{who} lost subflows of MPTCP",
        ),
        IncidentKind(
            "undetermined",
            "Many closes without enough evidence.",
            "{who} has closes without enough evidence",
        ),
    )
}
"""By code, the most certain first."""

OF_CAUSE = {
    "crash": "stop",
    "silent": "silent",
    "unreachable": "unreachable",
    "forgot": "lost-state",
    "reset": "resets",
    "refused": "service-down",
    "half-closed": "half-closed",
    "abort": "aborts",
    "listener": "listener",
    "memory": "memory",
    "admin": "admin",
    "blocked": "blocked",
    "failed": "failed",
    "mptcp": "mptcp",
    "undetermined": "undetermined",
}
"""Kind of a cause (``causes.kinds``) that began at some time, as an incident."""
