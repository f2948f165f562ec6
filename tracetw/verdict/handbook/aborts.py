# SPDX-License-Identifier: Apache-2.0
"""Ends that this side brought about by RST."""

from __future__ import annotations

from collections.abc import Mapping

from tracetw.verdict.handbook.entry import Folklore, OnCall

__all__ = ["ABORTS"]

ABORTS: Mapping[str, OnCall] = {
    "abort-linger": OnCall(
        "linger-0",
        (
            (
                "Health checks, load generators and proxies that set SO_LINGER to {1, 0} to leave no "
                "TIME_WAIT behind."
            ),
            (
                "A library whose abort() or reset() does the same: SetLinger(0) in Go, "
                "`setSoLinger(true, 0)` in Java."
            ),
            "TCP_LINGER2 below 0: the application does not want FIN_WAIT2.",
        ),
        (
            "Remove the option. TIME_WAIT comes back; what it costs is below, and it is little.",
            (
                "Where RST is meant (a client that misbehaves, shedding load) leave it: the peer sees "
                "peer-reset and loses what it had not read."
            ),
            "TCP_LINGER2: 0 (the default) means net.ipv4.tcp_fin_timeout; else give seconds.",
        ),
        "proven: both options are read from the socket in its last moment. The kernel's own reason, "
        "TCP_STATE, is shared by several kinds of RST and decides nothing.",
        (
            Folklore(
                "TCPAbortOnLinger counts SO_LINGER 0.",
                "__tcp_close counts it as TCPAbortOnData. TCPAbortOnLinger is a close() in FIN_WAIT2 "
                "with TCP_LINGER2 below 0.",
            ),
            Folklore(
                "SO_LINGER with a time makes close() safe.",
                "close() waits at most that long (sk_stream_wait_close), then goes on as always; a "
                "process that is exiting does not wait at all. And an ACK says that the peer's "
                "kernel has the data, not that anybody read it.",
            ),
        ),
    ),
    "abort-unread": OnCall(
        "close-with-unread-data",
        (
            (
                "A server answers early (401, 413, a redirect) and closes while the client still sends its "
                "body: the client gets ECONNRESET in place of the answer."
            ),
            (
                "A health check or client that reads a part of the answer and closes; a TLS 1.3 client that "
                "never reads the session tickets."
            ),
            "A process was killed with requests in its sockets: see closed_by.",
        ),
        (
            (
                "Close in two steps: `shutdown(SHUT_WR)`, read until 0 with a limit of time and bytes, then "
                "close(). Proxies have a setting for it (nginx: lingering_close). Costs a socket for a while."
            ),
            "Clients: read the whole answer, or do not give the connection back to the pool.",
            "Deploys: stop taking work, finish what was read, then exit.",
        ),
        "proven: what was unread follows from the sequence numbers at CLOSE; from 6.12 on the kernel "
        "also says TCP_ABORT_ON_CLOSE. The RST not seen in time: inferred; not seen at all: undetermined.",
        (
            Folklore(
                "close() sends FIN unless SO_LINGER says otherwise.",
                "__tcp_close looks for unread data first, before SO_LINGER, in every state.",
            ),
            Folklore(
                "The kernel closes for a killed process with FIN.",
                "With FIN if everything was read, with RST if not: do_exit ends in the same "
                "__tcp_close. And it does not close at all while another process holds the descriptor.",
            ),
        ),
    ),
    "abort-late-data": OnCall(
        "late-data-closed-socket",
        (
            (
                "Somebody hung up in the middle of a download: the browser's tab, a client with a limit of "
                "time, a proxy whose client went."
            ),
            "A server closed an idle connection just when the next request came.",
            "Two sides that both stream and have no end of message in their protocol.",
        ),
        (
            "Who closes first: `shutdown(SHUT_WR)` and read until 0 in place of close().",
            (
                "Clients: idle timeout shorter than the server's, so that the server never closes under a "
                "request."
            ),
            "Senders: take ECONNRESET and EPIPE of a write for what it is, and stop.",
        ),
        "The RST was sent in answer to a segment for a socket the application had let go. On a FIN_WAIT2 "
        "mini-socket the RST shows on 6.10 and newer; before, it is inferred: data came, and the "
        "mini-socket was gone.",
        (
            Folklore(
                "With shutdown() data that arrives is thrown away in silence.",
                "In FIN_WAIT1 and FIN_WAIT2 with the receiving side shut, tcp_rcv_state_process answers "
                "new data with RST, though the descriptor is open (scenario `late-data-shut-socket`).",
            ),
            Folklore(
                "The tracepoint tcp_receive_reset means that a RST arrived.",
                "tcp_rcv_state_process calls tcp_reset for data after close, too: no RST arrived, one "
                "is sent.",
            ),
            Folklore(
                "TCPAbortOnData counts data that came too late.",
                "On a full socket (tcp_rcv_state_process). A FIN_WAIT2 mini-socket answers without "
                "counting, but for OutRsts: tcp_timewait_state_process, TCP_TW_RST.",
            ),
        ),
    ),
    "abort-disconnect": OnCall(
        "disconnect",
        (
            "A library or an old server that uses its sockets again, or a program that takes TCP for UDP.",
        ),
        ("Use a new socket for a new connection: close() sends FIN.",),
        "proven: the call was seen on a socket that was not being closed, after shutdown() too, where its file was "
        "in use. inferred for a socket of the kernel's own, which has no file. Nothing pending at the peer is "
        "needed for the RST.",
        (
            Folklore(
                "connect(AF_UNSPEC) is for UDP.",
                "It dissolves a TCP connection: tcp_disconnect, with RST in the states where one is due.",
            ),
        ),
    ),
    "abort-admin": OnCall(
        "killed-by-admin",
        (
            "Failover and maintenance scripts with `ss -K`.",
            "Something that watches addresses or backends and destroys the sockets of one that went.",
        ),
        (
            (
                "Find the caller: look for `ss -K` in scripts and for SOCK_DESTROY in agents, with the time of "
                "the line in hand. CAP_NET_ADMIN is what it takes; remove it from who does not need it."
            ),
            "The application: ECONNABORTED is an error as any other of the network: connect again.",
        ),
        "proven: only tcp_abort sets ECONNABORTED. Without the RST that belongs to it (TCP_REPAIR sets "
        "the same error and sends nothing) the end is undetermined.",
        (
            Folklore(
                "ss -K closes the socket.",
                "tcp_abort ends the connection; the descriptor stays, in state CLOSE, until the "
                "application closes it. No counter of the kernel counts it.",
            ),
        ),
    ),
    "abort-memory": OnCall(
        "orphan-limit",
        (
            (
                "Thousands of clients vanished at once (a network of phones, an attack), and what was "
                "closed for them waits for ACKs that never come."
            ),
            "Large send buffers to slow readers fill net.ipv4.tcp_mem.",
            "The kernel's log says `too many orphaned sockets` or `out of memory`.",
        ),
        (
            "Raise net.ipv4.tcp_max_orphans: an orphan holds up to about 64 KiB that cannot be swapped.",
            (
                "Lower net.ipv4.tcp_orphan_retries: 3 gives up after about 3 s, 5 after about 13 s, 0 (that "
                "is 8) after about 102 s. Costs the end of the data when the network fails for that long."
            ),
            "Out of memory: raise net.ipv4.tcp_mem (pages), or lower the maximum in net.ipv4.tcp_wmem.",
        ),
        "From 6.12 on the kernel says TCP_ABORT_ON_MEMORY. Before, it follows from a RST without any "
        "other cause on an orphan. Which of the two limits it was is not recorded.",
        (
            Folklore(
                "tcp_max_orphans can be set for a container.",
                "It is one limit for the machine (ipv4_table, not ipv4_net_table): its file exists in the "
                "initial namespace only.",
            ),
            Folklore(
                "It is an exact limit, and the surplus is closed a bit sooner.",
                "The kernel compares with a sum made every 100 ms (tcp_orphan_update), and what is over "
                "the limit is not closed but reset: tcp_check_oom. An orphan that got nowhere for long or met "
                "an ICMP error is given up at a half or a quarter of it (tcp_out_of_resources).",
            ),
        ),
    ),
    "abort-listener": OnCall(
        "listener-closed-queue-full",
        (
            (
                "A restart or deploy closed the listener with connections in its accept queue. Their "
                "clients were connected, had perhaps sent a request, and got ECONNRESET."
            ),
            (
                "A server that had stopped accepting (overload, deadlock) was killed: `ss -lt` had shown "
                "Recv-Q near Send-Q."
            ),
        ),
        (
            "Take the host out of the load balancer first; then accept until EAGAIN, then close.",
            "Hand the listener to the next process (socket activation, SCM_RIGHTS): nothing is lost.",
            (
                "net.ipv4.tcp_migrate_req 1 (5.14) with SO_REUSEPORT: another listener of the port takes "
                "them over. All of them must have the same options."
            ),
        ),
        "No application had accepted the connection, and a RST was sent when it ended. Its owner "
        "is the process that listened (owner_from listener).",
        (
            Folklore(
                "When connect() returns, the server has accepted.",
                "The handshake is the kernel's. accept() takes out of the queue what has been "
                "connected long before; until then close() of the listener resets it: "
                "inet_csk_listen_stop.",
            ),
        ),
    ),
}
