# SPDX-License-Identifier: Apache-2.0
"""``tracetw trace`` as a command: how it starts, stops, fails, and what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.kernel.kit.bpf_ids import alive, held_by
from tests.kernel.kit.pair import only, reset_once
from tracetw.lab.expect.match import SOME, at_least, differences
from tracetw.lab.net.topology import Net
from tracetw.lab.play.child import COMMAND, ROOT, environment
from tracetw.lab.play.tracer import Tracer
from tracetw.lab.polling import eventually, patient

NOBODY = 65534
READY_S = 2.0
RESIDENT_KB = 60 * 1024

# Connects to itself, then resets: two connection ends, over when the program is.
RESETS_ITSELF = textwrap.dedent("""
    import socket, struct, sys
    listener = socket.create_server(("127.0.0.1", 0))
    end = socket.create_connection(listener.getsockname())
    other = listener.accept()[0]
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()
    other.close()
    sys.exit(int(sys.argv[1]))
""")


def trace(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run to the end; for what must not even start."""
    return subprocess.run(
        [*COMMAND, "trace", *arguments],
        capture_output=True,
        text=True,
        timeout=patient(20),
        env=environment(),
        check=False,
    )


# --- a command to trace


@pytest.mark.parametrize("status", [0, 7])
def test_exits_with_the_status_of_the_command(pair: Net, status: int) -> None:
    inside = ["ip", "netns", "exec", pair.a.name]
    command = [*inside, sys.executable, "-c", RESETS_ITSELF, str(status)]
    with Tracer("--netns", pair.a.name, "--", *command) as tracer:
        summary = tracer.finish(status)
    verdicts = sorted(line["verdict"] for line in tracer.select(kind="close"))
    assert verdicts == ["abort-linger", "peer-reset"]
    assert summary["closes"] == {"abort-linger": 1, "peer-reset": 1}
    assert summary["lost"] == 0


def test_command_sees_its_own_standard_output() -> None:
    """What the command prints is not mixed into the middle of a line of ours."""
    with Tracer(
        "--", sys.executable, "-c", "import json; print(json.dumps({'kind': 'own'}))"
    ) as run:
        run.finish()
    assert run.select(kind="own") == [{"kind": "own"}]


def test_the_command_ignores_what_it_would_without_us() -> None:
    """As under nohup(1), or as the background job of a script: tracing has handlers of its own."""
    show = (
        "import json, signal;"
        "print(json.dumps({'kind': 'own',"
        " 'int': signal.getsignal(signal.SIGINT) is signal.SIG_IGN,"
        " 'term': signal.getsignal(signal.SIGTERM) is signal.SIG_IGN}))"
    )
    for ignored, trap in ((True, "trap '' INT TERM;"), (False, "")):
        done = subprocess.run(
            [
                "sh",
                "-c",
                f'{trap} exec "$@"',
                "sh",
                *COMMAND,
                "trace",
                "-o",
                "json",
                "--",
                sys.executable,
                "-c",
                show,
            ],
            capture_output=True,
            text=True,
            env=environment(),
            check=True,
        )
        own = json.loads(done.stdout.splitlines()[0])
        assert own == {"kind": "own", "int": ignored, "term": ignored}


# --- ways to stop


def test_a_background_job_of_a_script_can_be_ended() -> None:
    """A shell without job control starts it with SIGINT ignored."""
    ready, told = os.pipe()
    words = [*COMMAND, "trace", "-o", "json", "--ready-fd", str(told)]
    with subprocess.Popen(
        ["sh", "-c", """trap '' INT; exec "$@" """, "sh", *words],
        pass_fds=(told,),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as process:
        os.close(told)
        assert os.read(ready, 1) == b"1"
        os.close(ready)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=patient(60))
    assert json.loads(said.splitlines()[-1])["kind"] == "summary"


def test_ctrl_c_prints_a_summary(pair: Net) -> None:
    with Tracer(*only(pair)) as tracer:
        reset_once(pair)
        tracer.close_of(pair.b.netns)
        summary = tracer.stop()
        assert any(line.startswith("tracing") for line in tracer.said().splitlines()[:2])
        assert "peer-reset" in tracer.said()
    assert summary["closes"] == {"abort-linger": 1, "peer-reset": 1}


def test_ctrl_c_with_nothing_traced(pair: Net) -> None:
    with Tracer(*only(pair)) as tracer:
        summary = tracer.stop(130)
    assert summary["closes"] == {}


def test_sigterm_prints_a_summary(pair: Net) -> None:
    with Tracer(*only(pair)) as tracer:
        reset_once(pair)
        summary = tracer.stop(number=signal.SIGTERM)
    assert summary["closes"] == {"abort-linger": 1, "peer-reset": 1}


def test_duration(pair: Net) -> None:
    with Tracer(*only(pair), "--duration", "1s") as tracer:
        reset_once(pair)
        assert tracer.finish()["closes"] == {"abort-linger": 1, "peer-reset": 1}


@pytest.mark.parametrize("output", ["table", "json"])
def test_closed_pipe(pair: Net, output: str) -> None:
    """As ``| head -1``: it ends by itself and does not complain."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "wb") as sink, Tracer(*only(pair), output=output, sink=sink) as tracer:
        sink.close()
        reset_once(pair)
        assert os.read(reader, 1)
        os.close(reader)

        def ended() -> bool:
            reset_once(pair)
            return tracer.process.poll() is not None

        eventually(ended)
        assert tracer.ended() == 0
        assert "Traceback" not in tracer.said()
        assert "BrokenPipe" not in tracer.said()


def test_kill_9_leaves_nothing_behind(pair: Net) -> None:
    with Tracer(*only(pair)) as tracer:
        held = held_by(tracer.process.pid)
        assert {kind for kind, _ in held} >= {"prog_id", "map_id", "link_id"}
        assert held <= alive()
        tracer.process.kill()
        tracer.process.wait()
        eventually(lambda: not held & alive())


def test_full_disk(pair: Net, tmp_path: Path) -> None:
    """Whole lines until the disk is full, then exit 1 with one line that says so."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(tmp_path)], check=True)
    try:
        file = tmp_path / "closes"
        with file.open("wb") as sink, Tracer(*only(pair), sink=sink) as tracer:

            def ended() -> bool:
                reset_once(pair)
                return tracer.process.poll() is not None

            eventually(ended)
            assert tracer.ended() == 1
            assert "No space left" in tracer.said()
            assert "Traceback" not in tracer.said()
        text = file.read_text()
        assert text.endswith("\n")
        assert all(json.loads(line)["kind"] == "close" for line in text.splitlines())
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


# --- what it costs


def test_small_and_quick(pair: Net, capsys: pytest.CaptureFixture[str]) -> None:
    with Tracer(*only(pair)) as tracer:
        reset_once(pair)
        tracer.close_of(pair.b.netns)
        status = Path(f"/proc/{tracer.process.pid}/status").read_text()
        resident_kb = int(status.split("VmRSS:")[1].split()[0])
        mapped = Path(f"/proc/{tracer.process.pid}/maps").read_text()
    with capsys.disabled():
        print(f" [ready in {tracer.ready_s:.2f} s, {resident_kb / 1024:.1f} MB resident] ", end="")
    assert tracer.ready_s < patient(READY_S)
    assert resident_kb < RESIDENT_KB
    assert "LLVM" not in mapped
    assert "libbcc.so" not in mapped


# --- other output


def test_table_is_for_80_columns(pair: Net, tmp_path: Path) -> None:
    file = tmp_path / "table"
    with file.open("wb") as sink, Tracer(*only(pair), output="table", sink=sink) as tracer:
        reset_once(pair)
        eventually(lambda: "peer-reset" in file.read_text())
        tracer.process.send_signal(signal.SIGINT)
        assert tracer.ended() == 0
    text = file.read_text()
    assert "\033" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert sum(":7000" in line for line in text.splitlines()) == 2


def test_transitions(pair: Net) -> None:
    with Tracer(*only(pair), "--transitions") as tracer:
        reset_once(pair)
        tracer.stop()
    steps = [
        (line["from"], line["to"]) for line in tracer.select(kind="transition", netns=pair.a.netns)
    ]
    assert steps == [("CLOSE", "SYN_SENT"), ("SYN_SENT", "ESTABLISHED"), ("ESTABLISHED", "CLOSE")]
    assert len(tracer.select(kind="close", netns=pair.a.netns)) == 1


def test_retransmit_events(pair: Net) -> None:
    pair.a.sysctl(tcp_orphan_retries=1)
    with Tracer(*only(pair), "--events", "retransmit") as tracer:
        link = pair.connect()
        pair.drop(pair.b)
        link.a.close()
        eventually(lambda: pair.a.states() == [])
        counted = pair.a.counters()["RetransSegs"]
        tracer.close_of(pair.a.netns)
        tracer.stop()
    events = tracer.select(kind="retransmit", netns=pair.a.netns)
    assert len(events) == counted
    expected = {
        "state": "FIN_WAIT1",
        "what": "fin",
        "rto_ms": at_least(200),
        "backoff": at_least(0),
    }
    addresses = {"local": {"addr": pair.a.addresses[4]}, "remote": {"addr": pair.b.addresses[4]}}
    assert [differences({**expected, **addresses, "time": SOME}, event) for event in events] == [
        []
    ] * counted


# --- what it refuses


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (["--verdict", "peer-rest"], ["peer-rest", "peer-reset"]),
        (["--port", "70000"], ["70000", "65535"]),
        (["--local-port", "-1"], ["-1"]),
        (["--remote-port", "http"], ["http", "65535"]),
        (["--addr", "10.0.0.0/33"], ["10.0.0.0/33"]),
        (["--addr", "fe80::/129"], ["fe80::/129"]),
        (["--addr", "nowhere"], ["nowhere"]),
        (["--netns", "no-such-namespace"], ["no-such-namespace"]),
        (["--netns", "1"], ["1"]),
        (["--pid", "init"], ["init"]),
        (["--cgroup", "/no/such/group"], ["/no/such/group"]),
        (["--min-duration", "soon"], ["soon", "500ms"]),
        (["--duration", "never"], ["never"]),
        (["--events", "retransmits"], ["retransmits", "retransmit"]),
        (["-o", "xml"], ["xml", "json"]),
        (["--ready-fd", "99"], ["99"]),
        (["--", "/no/such/command"], ["/no/such/command"]),
        (["--no-such-option"], ["--no-such-option"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_input(arguments: list[str], names: list[str]) -> None:
    """Exit 2 and one line that names the value and the valid form."""
    done = trace(*arguments)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert all(name in done.stderr for name in names), done.stderr


def test_not_root() -> None:
    as_nobody = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    as_nobody += ["--inh-caps=-all", "--"]
    reachable = subprocess.run(
        [*as_nobody, sys.executable, "-c", "import tracetw.cli"],
        cwd="/",
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if reachable.returncode:
        pytest.skip(f"uid {NOBODY} cannot read {ROOT}: {reachable.stderr.splitlines()[-1]}")
    done = subprocess.run(
        [*as_nobody, *COMMAND, "trace"],
        cwd="/",
        env=environment(),
        capture_output=True,
        text=True,
        timeout=patient(20),
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert "root" in done.stderr
    assert "Traceback" not in done.stderr
