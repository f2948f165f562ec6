# SPDX-License-Identifier: Apache-2.0
"""Names that a process chose, from the kernel to every output: the same text, and nothing raw."""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.kit.command import run
from tests.kernel.kit.namespace import ip
from tests.unit.hostile_names import assert_people_can_read, strict
from tracetw.host import cgroup
from tracetw.host.netns import resolve
from tracetw.lab.play.child import COMMAND
from tracetw.lab.polling import eventually

COMM = b"\x1b[31m\n\xff\xe2\x80\xaex"
TEXT = "\x1b[31m\n\\xff\u202ex"
SHOWN = r"\x1b[31m\n\xff\u202ex"
GROUP = b"tracetw-\x1b]0;t\x07\xfe\xc2\x9b\xe2\x80\xa8" + str(os.getpid()).encode()
GROUP_TEXT = f"tracetw-\x1b]0;t\x07\\xfe\x9b\u2028{os.getpid()}"
GROUP_SHOWN = rf"tracetw-\x1b]0;t\x07\xfe\u009b\u2028{os.getpid()}"
NAME = f"tw\x1b[1m{os.getpid()}"
NAME_SHOWN = rf"tw\x1b[1m{os.getpid()}"

# In each namespace given: a connection to itself, which both ends close.
CLOSES = textwrap.dedent("""
    import ctypes, os, socket, sys
    group, comm, *names = map(os.fsencode, sys.argv[1:])
    if group:
        with open(group + b"/cgroup.procs", "w") as file:
            file.write("0")
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.prctl(15, comm, 0, 0, 0) == 0
    for name in names:
        where = os.open(b"/run/netns/" + name, os.O_RDONLY)
        assert libc.setns(where, 0x40000000) == 0
        with socket.create_server(("127.0.0.1", 0)) as listener:
            end = socket.create_connection(listener.getsockname())
            other = listener.accept()[0]
            end.close()
            other.recv(1)
            other.close()
""")


@pytest.fixture(scope="module")
def group() -> Iterator[bytes]:
    """A control group whose name has everything that the kernel takes."""
    mount = cgroup.mount_point()
    if mount is None:
        pytest.skip("no cgroup2 is mounted")
    path = Path(mount) / os.fsdecode(GROUP)
    path.mkdir()
    yield os.fsencode(path)

    def gone() -> bool:
        try:
            path.rmdir()
        except OSError:  # its last process is still being buried
            return False
        return True

    eventually(gone, what="the control group can be removed")


@pytest.fixture(scope="module")
def names() -> Iterator[list[str]]:
    """Two network namespaces, one with a hostile name."""
    made = [NAME, f"tw-plain-{os.getpid()}"]
    for name in made:
        ip("netns", "add", name)
    try:
        for name in made:
            ip("-n", name, "link", "set", "lo", "up")
        yield made
    finally:
        for name in made:
            ip("netns", "del", name)


def closing(group: bytes, names: list[str]) -> list[str]:
    """Words of a traced command."""
    script = [sys.executable, "-c", CLOSES, os.fsdecode(group), os.fsdecode(COMM)]
    return ["--", *script, *names]


def only(names: list[str]) -> list[str]:
    return [word for name in names for word in ("--netns", name)]


def closes(text: str) -> list[dict[str, Any]]:
    return [line for line in map(strict, text.splitlines()) if line["kind"] == "close"]


@pytest.fixture(scope="module")
def recording(group: bytes, names: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same as the traces, recorded."""
    folder = tmp_path_factory.mktemp("names") / "rec"
    run(*COMMAND, "record", "-o", folder, *only(names), *closing(group, names))
    return folder


def outputs(form: str, group: bytes, names: list[str], recording: Path) -> tuple[str, str]:
    live = run(*COMMAND, "trace", "-o", form, *only(names), *closing(group, names))
    return live.stdout, run(*COMMAND, "replay", "-o", form, recording).stdout


def test_json(group: bytes, names: list[str], recording: Path) -> None:
    inodes = {resolve(name) for name in names}
    for text in outputs("json", group, names, recording):
        found = closes(text)
        assert len(found) == 4
        assert {(line["comm"], line["cgroup"]) for line in found} == {(TEXT, f"/{GROUP_TEXT}")}
        assert {line["netns"] for line in found} == inodes


@pytest.mark.parametrize("form", ["table", "wide"])
def test_table(form: str, group: bytes, names: list[str], recording: Path) -> None:
    for text in outputs(form, group, names, recording):
        assert_people_can_read(text)
        rows = [line for line in text.splitlines() if not line.startswith("TIME")]
        assert len(rows) == 4
        assert "NETNS" in text
        if form == "wide":
            assert all(f" {SHOWN}/" in line for line in rows)
            assert [NAME_SHOWN in line for line in rows] == [True, True, False, False]
            assert [names[1] in line for line in rows] == [False, False, True, True]
        else:
            assert all(r" \x1b" in line for line in rows)
            end = str(os.getpid())[-2:]
            second = [line.split()[1] for line in rows]
            assert second[2:] == [f"tw-…{end}"] * 2
            # The column appears with the second namespace: lines before it may have been written.
            assert all(one == rf"tw\…{end}" or one.startswith("127.") for one in second[:2])


def test_report_and_query(recording: Path) -> None:
    assert_people_can_read(run(*COMMAND, "report", recording).stdout)
    assert strict(run(*COMMAND, "report", "--json", recording).stdout.strip())
    table = run(*COMMAND, "query", recording, "SELECT DISTINCT comm, cgroup FROM closes").stdout
    assert_people_can_read(table)
    assert table.splitlines()[2].split() == [SHOWN, f"/{GROUP_SHOWN}"]


def test_filters_take_what_is_printed(group: bytes, names: list[str]) -> None:
    choices = [["--comm", SHOWN], ["--comm", TEXT], ["--cgroup", f"/{GROUP_TEXT}"]]
    choices += [["--cgroup", f"/{GROUP_SHOWN}"], ["--netns", NAME_SHOWN, "--netns", names[1]]]
    for filters in choices:
        words = [*only(names), *filters, *closing(group, names)]
        assert len(closes(run(*COMMAND, "trace", "-o", "json", *words).stdout)) == 4, filters


def test_another_pid_namespace_names_no_wrong_process(names: list[str]) -> None:
    """There the kernel's pids are other processes: nothing may be looked up by them."""
    outside = ("unshare", "--pid", "--fork", "--mount-proc")
    words = ["trace", "-o", "json", *only(names[:1]), *closing(b"", names[:1])]
    done = run(*outside, *COMMAND, *words)
    assert done.stderr.count("another PID namespace") == 1
    found = closes(done.stdout)
    assert {line["comm"] for line in found} == {TEXT}  # from the record
    assert all(line["pid"] > 2 for line in found)  # as the first namespace has it
    here = run(*COMMAND, *words)
    assert "PID namespace" not in here.stderr
    assert {line["comm"] for line in closes(here.stdout)} == {TEXT}


def test_a_proc_of_the_first_namespace_is_good_enough(names: list[str]) -> None:
    words = ["trace", "-o", "json", *only(names[:1]), *closing(b"", names[:1])]
    done = run("unshare", "--pid", "--fork", *COMMAND, *words)
    assert "PID namespace" not in done.stderr
