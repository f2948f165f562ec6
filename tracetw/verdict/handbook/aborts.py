# SPDX-License-Identifier: Apache-2.0
"""Ends that this side brought about by RST."""

from __future__ import annotations

from collections.abc import Mapping

from tracetw.verdict.handbook.entry import Folklore, OnCall, Question

ABORTS: Mapping[str, OnCall] = {
    "abort-linger": OnCall(
        "linger-0",
        causes=(
            Question(
                "Does `why` name TCP_LINGER2?",
                "The application set TCP_LINGER2 below 0: it does not want FIN_WAIT2. Set 0 (the "
                "default, net.ipv4.tcp_fin_timeout) or a number of seconds.",
            ),
            Question(
                "Is the process a health check, a load generator or a proxy?",
                "It sets SO_LINGER to {1, 0} to leave no TIME_WAIT behind. Remove the option: TIME_WAIT "
                "costs little, see [entered](entered.md).",
                "The application or a library aborts on purpose, with a method called abort or reset: "
                "SetLinger(0) in Go, `setSoLinger(true, 0)` in Java. Ask its authors whether they mean "
                "to lose the data.",
            ),
        ),
        settings=(
            "SO_LINGER 0: remove it. TIME_WAIT comes back.",
            (
                "Where RST is meant (a client that misbehaves, load that is shed) leave it: the peer gets "
                "peer-reset, and loses what had not arrived."
            ),
            "TCP_LINGER2: 0 stands for net.ipv4.tcp_fin_timeout; above 0 it is a number of seconds.",
        ),
        sure="proven: tracetw reads both options from the socket in its last moment. The kernel's own "
        "reason, TCP_STATE, is shared by several kinds of RST and decides nothing.",
        folklore=(
            Folklore(
                "TCPAbortOnLinger counts SO_LINGER 0.",
                "__tcp_close counts it as TCPAbortOnData. TCPAbortOnLinger counts a close() in FIN_WAIT2 "
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
        causes=(
            Question(
                "Does closed_by say process-exit, process-crash or oom-kill?",
                "The process ended with requests in its sockets: `exit` has the code or the signal. In a "
                "deploy stop taking work, finish what was read, then exit.",
            ),
            Question(
                "Does `role` say server?",
                "The server answers early (401, 413, a redirect) and closes while the client still sends "
                "its body: the client gets ECONNRESET in place of the answer. Close in two steps, as "
                "under Settings.",
                "The client closes before it has read everything: a health check that reads a part of the "
                "answer, a limit of time, a TLS 1.3 client that never reads the session tickets. Read the "
                "whole answer, or do not give the connection back to the pool.",
            ),
        ),
        settings=(
            (
                "The kernel has none. Close in two steps: `shutdown(SHUT_WR)`, read until 0 with a limit of "
                "time and bytes, then close(). Costs a socket for a while."
            ),
            "nginx has a setting for that: lingering_close.",
        ),
        sure="proven: the sequence numbers at CLOSE say what was unread; from 6.12 on the kernel also "
        "gives TCP_ABORT_ON_CLOSE as its reason. If the record left before the RST, the verdict is "
        "inferred; if nobody saw the RST, the end is undetermined.",
        now=("bytes_unread says how much was unread, `pid` and `comm` who closed.",),
        folklore=(
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
        causes=(
            Question(
                "Is this end a server that closes idle connections, and did the client lose a request?",
                "The server closed the idle connection just when the next request came. Make the "
                "client's idle timeout shorter than the server's.",
            ),
            Question(
                "Did this end close in the middle of a transfer (bytes_received is less than the whole)?",
                "Somebody hung up: a browser's tab, a client with a limit of time, a proxy whose client "
                "went. The sender must take ECONNRESET and EPIPE as the end, and stop.",
                "Both sides send and the protocol has no end of message. Agree who ends the exchange; "
                "that side calls `shutdown(SHUT_WR)` and reads until 0 before close().",
            ),
        ),
        settings=(
            (
                "The kernel has none. Idle timeouts: the client's below the server's, so that the server "
                "never closes under a request."
            ),
        ),
        sure="The kernel sent the RST in answer to a segment for a socket that the application had "
        "closed. For a timewait socket in FIN_WAIT2 the kernel announces the RST from 6.10 on; before, the "
        "verdict is inferred: data came, and the timewait socket was gone.",
        folklore=(
            Folklore(
                "After shutdown() the kernel throws away data that arrives, in silence.",
                "In FIN_WAIT1 and FIN_WAIT2 with the receiving side shut, tcp_rcv_state_process answers "
                "new data with RST, though the descriptor is open (scenario `late-data-shut-socket`).",
            ),
            Folklore(
                "The tracepoint tcp_receive_reset means that a RST arrived.",
                "tcp_rcv_state_process calls tcp_reset for data after close, too: no RST arrived, the "
                "kernel sends one.",
            ),
            Folklore(
                "TCPAbortOnData counts data that came too late.",
                "On a full socket (tcp_rcv_state_process). A timewait socket in FIN_WAIT2 answers and "
                "counts only OutRsts: tcp_timewait_state_process, TCP_TW_RST.",
            ),
        ),
    ),
    "abort-disconnect": OnCall(
        "disconnect",
        causes=(
            Question(
                "Does `confidence` say inferred?",
                "The socket has no file: it belongs to the kernel itself. Find the kernel service behind "
                "the port.",
            ),
            Question(
                "Does `strace -f -e trace=connect -p PID` show connect() with AF_UNSPEC?",
                "The program, or a library in it, uses its sockets again or takes TCP for UDP. Use a new "
                "socket for a new connection: close() sends FIN.",
                "The call is rare: let strace run until the next line, or search the program and its "
                "libraries for AF_UNSPEC.",
            ),
        ),
        settings=("None: only the program can change it.",),
        sure="proven: tracetw saw the call on a socket whose file was in use, so it was not close(). "
        "inferred for a socket of the kernel's own, which has no file. The kernel sends the RST whether or "
        "not anything is pending at the peer.",
        folklore=(
            Folklore(
                "connect(AF_UNSPEC) is for UDP.",
                "It dissolves a TCP connection: tcp_disconnect, with RST in the states where one is due.",
            ),
        ),
    ),
    "abort-admin": OnCall(
        "killed-by-admin",
        causes=(
            Question(
                "Does a shell history, a cron job or a script have `ss -K` at the time of the line?",
                "An operator or a script for failover or maintenance destroyed the socket. Narrow its "
                "filter if it took too many.",
            ),
            Question(
                "Did an address or a backend go at that time (`ip monitor address`, the agent's log)?",
                "A program that watches addresses or backends destroyed the sockets of the one that went, "
                "with SOCK_DESTROY or bpf_sock_destroy.",
                "Some other holder of CAP_NET_ADMIN did: list the processes that have it with `pscap`, and "
                "take it from those that do not need it.",
            ),
        ),
        settings=(
            (
                "None in the kernel. The application: ECONNABORTED is a network error as any other, so "
                "connect again."
            ),
        ),
        sure="proven: only tcp_abort sets ECONNABORTED. Without the RST that belongs to it (TCP_REPAIR sets "
        "the same error and sends nothing) the end is undetermined.",
        folklore=(
            Folklore(
                "ss -K closes the socket.",
                "tcp_abort ends the connection; the descriptor stays, in state CLOSE, until the "
                "application closes it. No counter of the kernel counts it.",
            ),
        ),
    ),
    "abort-memory": OnCall(
        "orphan-limit",
        causes=(
            Question(
                "Does the kernel's log (`dmesg`) say `too many orphaned sockets`?",
                "More orphans than net.ipv4.tcp_max_orphans: thousands of clients vanished at once (a "
                "network of phones, an attack), and the sockets closed for them wait for ACKs. Raise the "
                "limit, or let orphans give up sooner.",
            ),
            Question(
                "Does the log say `out of memory`, or does mem in /proc/net/sockstat reach the last number "
                "of net.ipv4.tcp_mem?",
                "Large send buffers to slow readers fill net.ipv4.tcp_mem. Raise it, or lower the "
                "maximum in net.ipv4.tcp_wmem.",
                "Orphans that got nowhere for long are given up at a half or a quarter of the limit: "
                "compare orphan in /proc/net/sockstat with those parts of net.ipv4.tcp_max_orphans. "
                "(The kernel also limits how often it writes to the log.)",
            ),
        ),
        settings=(
            "net.ipv4.tcp_max_orphans: raise it; an orphan holds up to about 64 KiB that cannot be swapped.",
            (
                "net.ipv4.tcp_orphan_retries: 3 gives up after about 3 s, 5 after about 13 s, 0 (that is 8) "
                "after about 102 s, or when the back-off reaches TCP_RTO_MAX (120 s; from 6.15 on "
                "net.ipv4.tcp_rto_max_ms, or TCP_RTO_MAX_MS of the socket), if that comes first. Lower costs the end "
                "of the data when the network fails for that long."
            ),
            "net.ipv4.tcp_mem (pages): raise it. Costs memory that cannot be swapped.",
        ),
        sure="From 6.12 on the kernel gives TCP_ABORT_ON_MEMORY as its reason. Before, the verdict follows "
        "from a RST without any other cause on an orphan. The record does not say which of the two limits "
        "it was.",
        now=("`cat /proc/net/sockstat; sysctl net.ipv4.tcp_max_orphans net.ipv4.tcp_mem`.",),
        folklore=(
            Folklore(
                "tcp_max_orphans can be set for a container.",
                "It is one limit for the machine (ipv4_table, not ipv4_net_table): its file exists in the "
                "initial namespace only.",
            ),
            Folklore(
                "It is an exact limit, and the kernel closes the surplus a bit sooner.",
                "The kernel compares with a sum made every 100 ms (tcp_orphan_update), and does not close "
                "what is over the limit but resets it: tcp_check_oom. It gives up an orphan that got nowhere "
                "for long or met an ICMP error at a half or a quarter of the limit (tcp_out_of_resources).",
            ),
        ),
    ),
    "abort-listener": OnCall(
        "listener-closed-queue-full",
        causes=(
            Question(
                "Does closed_by say process-exit, process-crash or oom-kill?",
                "The server stopped or was killed with connections in its accept queue. A deploy: drain "
                "first, as under Settings. A kill: the server may have stopped accepting (overload, "
                "deadlock) before; `ss -lt` had then shown Recv-Q near Send-Q.",
                "The application closed its listener and runs on, as at a reload. Accept until EAGAIN "
                "before close().",
            ),
        ),
        settings=(
            "Deploys: take the host out of the load balancer, accept until EAGAIN, then close.",
            "Hand the listener to the next process (socket activation, SCM_RIGHTS): nothing is lost.",
            (
                "net.ipv4.tcp_migrate_req 1 (5.14) with SO_REUSEPORT: another listener of the port takes "
                "the connections over. All of them must have the same options."
            ),
        ),
        sure="No application had accepted the connection, and the kernel sent RST when it ended. Its owner "
        "is the process that listened (owner_from listener).",
        now=(
            "The clients were connected, had perhaps sent a request, and got ECONNRESET: expect their errors.",
        ),
        folklore=(
            Folklore(
                "When connect() returns, the server has accepted.",
                "The handshake is the kernel's. accept() takes out of the queue what has been "
                "connected long before; until then close() of the listener resets it: "
                "inet_csk_listen_stop.",
            ),
        ),
    ),
}
