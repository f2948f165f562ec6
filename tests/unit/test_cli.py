# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner, Result

from tests.unit.sink_rows import CONTEXT
from tracetw import __version__
from tracetw.cli import main
from tracetw.errors import CannotTrace, Failed
from tracetw.live.request import Request
from tracetw.stream.batch import Loss, MakeSink

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> list[Request]:
    """What the tracing loop is called with; it says hello to its sink and returns 7."""
    calls: list[Request] = []

    def loop(request: Request, make_sink: MakeSink) -> int:
        calls.append(request)
        sink = make_sink(CONTEXT)
        sink.head()
        sink.loss(Loss(1, "here", 0, 0))
        return 7

    monkeypatch.setitem(sys.modules, "tracetw.live.run", SimpleNamespace(run=loop))
    return calls


def fails_with(monkeypatch: pytest.MonkeyPatch, error: Callable[[], BaseException]) -> Result:
    def loop(_: Request, __: MakeSink) -> int:
        raise error()

    monkeypatch.setitem(sys.modules, "tracetw.live.run", SimpleNamespace(run=loop))
    return run("trace")


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_version(option: str) -> None:
    result = run(option)
    assert (result.exit_code, result.output) == (0, f"tracetw {__version__}\n")


def test_defaults(traced: list[Request]) -> None:
    result = run("trace")
    assert result.exit_code == 7
    assert result.stdout.startswith("TIME     LOCAL")
    assert traced == [Request()]


def test_everything(traced: list[Request]) -> None:
    words = "--port 80 --abnormal -o json --transitions --events drop,timewait --events retransmit"
    words += " --duration 1m --ready-fd 1 --color --utc -- sh -c exit"
    result = run("trace", *words.split())
    assert result.exit_code == 7, result.output
    assert json.loads(result.stdout)["kind"] == "loss"
    (request,) = traced
    assert request.filter.ports == ((80, 80),)
    assert request.filter.abnormal
    assert request.events == {"drop", "timewait", "retransmit", "transition"}
    assert (request.duration, request.ready_fd) == (60.0, 1)
    assert request.command == ("sh", "-c", "exit")


def test_the_table_as_asked(traced: list[Request]) -> None:
    text = run("trace", "-o", "wide", "--color", "--utc").stdout
    assert text.startswith("\x1b[1mTIME         NETNS      LOCAL")
    assert "between 00:00:00 and" in text
    assert traced == [Request()]


@pytest.mark.parametrize(
    ("arguments", "value", "form"),
    [
        ("trace --port 70000", "70000", "1 to 65535"),
        ("trace --verdict peer-rst", "peer-rst", "did you mean peer-reset?"),
        ("trace --addr 10.0.0.0/64", "10.0.0.0/64", "10.0.0.0/8"),
        ("trace --netns no-such-namespace", "no-such-namespace", "name"),
        ("trace --events tw", "tw", "timewait"),
        ("trace --events transitions", "transitions", "did you mean transition?"),
        ("trace --duration -1", "-1", "500ms"),
        ("trace --ready-fd 999", "999", "descriptor"),
        ("trace -o yaml", "yaml", "'json'"),
        ("trace -- no-such-program", "no-such-program", "PATH"),
        ("trace --container no-such", "no-such", "hex"),
        ("trace --abnormal --verdict orderly", "orderly", "leave out"),
        ("trace -P 22 -P !22", "--port", "leave one of them out"),
        ("trace -6 --addr 10.0.0.0/8", "-6", "other family"),
        ("trace --min-duration 10s --duration 5s", "10s", "watch longer"),
        ("trace --netns !all", "!all", "leave it out"),
        ("trace --cgroup 99999999999999999999999", "--cgroup", "/system.slice"),
        ("record -o x --verdict orderly --trigger verdict:peer-reset", "peer-reset", "never fire"),
        ("record -o x --abnormal --trigger rate:orderly>5/s", "orderly", "never fire"),
        (
            "record -o x --verdict !peer-reset --trigger verdict:peer-reset",
            "peer-reset",
            "the trigger",
        ),
        ("lab run --all four-way-close", "four-way-close", "names or --all"),
        ("lab run linger-0 --on vagrant -j 8", "--jobs", "leave --jobs or --on vagrant out"),
        ("lab run linger-0 --on vagrant --jobs=1", "--jobs", "is for namespaces"),
        ("lab run linger-0 --on vagrant -4 -6", "-6", "is for namespaces"),
        ("lab run linger-0 --on vagrant --repeat 1", "--repeat", "is for namespaces"),
        ("lab list --incidents --on vagrant", "--incidents", "in namespaces"),
        ("lab incident --all killed", "killed", "names or --all"),
        ("lab incident kiled", "kiled", "did you mean killed"),
        ("lab incident", "no incident named", "lab list --incidents"),
        ("completion tcsh", "tcsh", "'fish'"),
        ("trace --no-such-option", "--no-such-option", "--help"),
        ("trce", "trce", "--help"),
    ],
)
def test_bad_input(arguments: str, value: str, form: str) -> None:
    result = run(*arguments.split())
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("tracetw: ")
    assert value in result.stderr
    assert form in result.stderr


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (Failed("it broke", "mend it"), 1, "tracetw: it broke; mend it\n"),
        (CannotTrace("no BTF"), 3, "tracetw: no BTF\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_errors_become_text_and_exit_codes(
    monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, text: str
) -> None:
    result = fails_with(monkeypatch, lambda: error)
    assert (result.exit_code, result.stderr.lstrip()) == (code, text)


def test_habits_of_other_tools(traced: list[Request]) -> None:
    """``tcplife -p PID -4``, ``tcptop -P PORT``, ``tcpstates -L -D``, ``ss -n``."""
    words = ["-p", "12", "-P", "443", "-L", "443", "-D", "1024-65535", "-4", "-n"]
    assert run("trace", *words).exit_code == 7
    (options,) = traced
    wanted = options.filter
    assert wanted.pids == {12}
    assert wanted.ports == ((443, 443),)
    assert (wanted.local_ports, wanted.remote_ports) == (((443, 443),), ((1024, 65535),))
    assert wanted.families == {4}


def test_a_name_that_the_kernel_cuts_is_cut_with_a_word(traced: list[Request]) -> None:
    result = run("trace", "--comm", "prometheus-node-exporter")
    assert result.exit_code == 7
    assert traced[0].filter.comms == ("prometheus-node",)
    (line,) = result.stderr.splitlines()
    assert "15 bytes" in line
    assert "'prometheus-node'" in line


def test_a_bug_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    result = fails_with(monkeypatch, lambda: ZeroDivisionError("oops"))
    assert isinstance(result.exception, ZeroDivisionError)


@pytest.mark.parametrize("command", [(), ("trace",), ("doctor",), ("explain",)])
def test_every_command_has_help(command: tuple[str, ...]) -> None:
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert result.output.startswith("Usage: ")


@pytest.mark.parametrize("command", [(), ("trace",)])
def test_help_has_examples_that_run(command: tuple[str, ...], traced: list[Request]) -> None:
    lines = run(*command, "--help").output.splitlines()
    examples = [line.strip().split("   ")[0] for line in lines if line.startswith("    tracetw t")]
    for example in examples:
        words = ["true" if word == "./run-tests" else word for word in shlex.split(example)[1:]]
        assert run(*words).exit_code == 7, example
    assert len(traced) == len(examples) >= 2


def test_verdicts_are_explained() -> None:
    assert "SO_LINGER" in run("explain", "abort-linger").output


def child(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )


def test_only_what_a_command_needs_is_imported() -> None:
    code = "import sys, tracetw.cli, json; print(json.dumps([*sys.modules]))"
    few = json.loads(child("-c", code).stdout)
    assert not {"numpy", "tabulate", "pyroute2"} & {*few}
    code = code.replace("tracetw.cli,", "tracetw.cli.trace, tracetw.sink.json, tracetw.sink.table,")
    more = json.loads(child("-c", code).stdout)
    assert "numpy" in more
    assert not {"tabulate", "pyroute2", "bcc"} & {*more}


def test_a_reader_that_left_is_no_error() -> None:
    script = f"'{sys.executable}' -m tracetw explain | true; echo ${{PIPESTATUS[0]}}"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True, env=environment
    )
    assert (result.stdout, result.stderr) == ("0\n", "")


def test_closed_standard_output() -> None:
    script = f"'{sys.executable}' -m tracetw trace >&-"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    result = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=False, env=environment
    )
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
