# SPDX-License-Identifier: Apache-2.0
"""Set-up of a fresh checkout, in a folder with a space in its path, on a host whose own packages clash."""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.kernel.kit.checkout import (
    BINDINGS,
    NO_ROUTE,
    NOBODY,
    as_nobody,
    check_output,
    checkout,
    has_default_route,
    refusal,
    run,
    run_apart,
)

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(not has_default_route(), reason=NO_ROUTE),
]

debian = pytest.mark.skipif(not Path(BINDINGS, "bcc").is_dir(), reason=f"no {BINDINGS}/bcc here")


def seconds(command: Sequence[str | Path]) -> float:
    """Median wall clock of a start."""

    def once() -> float:
        before = time.perf_counter()
        run(*command)
        return time.perf_counter() - before

    return statistics.median(once() for _ in range(11))


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """Open to every user, unlike pytest's own."""
    with TemporaryDirectory(prefix="tracetw set-up ") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def first_starts(folder: Path) -> tuple[Path, list[tuple[int, str, str]]]:
    """A fresh checkout and what its first two starts, both at once, gave."""
    fresh = checkout(folder / "check out")
    command = [str(fresh / "scripts" / "tracetw"), "--version"]
    starts = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [start.communicate() for start in starts]
    return fresh, [
        (start.returncode, out, err) for start, (out, err) in zip(starts, said, strict=True)
    ]


@pytest.fixture(scope="module")
def ready(first_starts: tuple[Path, list[tuple[int, str, str]]]) -> Path:
    """A checkout that is set up."""
    return first_starts[0]


@pytest.fixture(scope="module")
def version(ready: Path) -> str:
    """What ``tracetw --version`` prints."""
    line = run(ready / ".venv/bin/python", "-I", "-m", "tracetw", "--version").stdout
    assert line.startswith("tracetw ")
    return line


@pytest.fixture
def traps(tmp_path: Path) -> Path:
    """A folder of modules that must not be imported although their names are right."""
    for name in ("bcc", "click", "json", "numpy", "tracetw"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong one')\n")
    return tmp_path


def test_two_first_starts_at_once(
    first_starts: tuple[Path, list[tuple[int, str, str]]], version: str
) -> None:
    fresh, starts = first_starts
    assert [(status, out) for status, out, _ in starts] == [(0, version)] * 2, starts
    said = "".join(err for *_, err in starts)
    assert said.count(f"tracetw: making {fresh}/.venv\n") == 1
    assert said.count("tracetw: installing from PyPI into ") == 1
    assert (
        "for tracetw: click, msgspec, NumPy, pyroute2, tabulate and wcwidth; about 19 MB to download, 87 MB"
        in said
    )


def test_the_second_start_costs_no_time(ready: Path, version: str) -> None:
    script = ready / "scripts/tracetw"
    check_output(run(script, "--version"), version)
    direct = seconds([ready / ".venv/bin/python", "-I", "-m", "tracetw", "--version"])
    assert seconds([script, "--version"]) - direct < 0.1


def test_from_any_folder_and_through_links(ready: Path, version: str, tmp_path: Path) -> None:
    (tmp_path / "link to the script").symlink_to(ready / "scripts/tracetw")
    (tmp_path / "folder").symlink_to(ready / "scripts")
    check_output(run("scripts/tracetw", "--version", cwd=ready), version)
    check_output(run("./tracetw", "--version", cwd=ready / "scripts"), version)
    check_output(run("bash", "tracetw", "--version", cwd=ready / "scripts"), version)
    check_output(run("./link to the script", "--version", cwd=tmp_path), version)
    check_output(run("folder/tracetw", "--version", cwd=tmp_path), version)


def test_the_current_folder_and_pythonpath_have_no_say(
    ready: Path, version: str, traps: Path
) -> None:
    env = {"PYTHONPATH": str(traps), "CDPATH": str(traps)}
    check_output(run(ready / "scripts/tracetw", "--version", cwd=traps, env=env), version)


def test_read_only_after_set_up(ready: Path, version: str) -> None:
    mounts = f"mount --bind '{ready}' '{ready}'\nmount -o remount,bind,ro '{ready}'"
    check_output(run_apart(mounts, ready / "scripts/tracetw", "--version"), version)


def test_mounted_read_only_elsewhere(ready: Path, version: str, tmp_path: Path) -> None:
    mounts = f"mount --bind '{ready}' '{tmp_path}'\nmount -o remount,bind,ro '{tmp_path}'"
    check_output(run_apart(mounts, tmp_path / "scripts/tracetw", "--version"), version)


def test_another_user_after_set_up(ready: Path, version: str) -> None:
    done = run_apart("", *as_nobody(ready / "scripts/tracetw", "--version"))
    check_output(done, version)


def test_a_change_of_the_project_sets_it_up_again(ready: Path, version: str) -> None:
    with (ready / "pyproject.toml").open("a", encoding="utf-8") as file:
        file.write("# changed\n")
    again = run(ready / "scripts/tracetw", "--version")
    assert (again.returncode, again.stdout) == (0, version)
    assert "making" not in again.stderr
    check_output(run(ready / "scripts/tracetw", "--version"), version)


@pytest.fixture
def unready(folder: Path) -> Iterator[Path]:
    """A checkout that belongs to an ordinary user and was never set up."""
    fresh = checkout(folder / "never set up")
    for path in (fresh, *fresh.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    yield fresh
    shutil.rmtree(fresh)


def test_read_only_before_set_up(unready: Path) -> None:
    mounts = f"mount --bind '{unready}' '{unready}'\nmount -o remount,bind,ro '{unready}'"
    message = refusal(run_apart(mounts, unready / "scripts/tracetw", "trace"))
    assert f"{unready} is not set up as it is now and cannot be written" in message


@debian
def test_packages_missing_and_not_root(unready: Path) -> None:
    script = unready / "scripts/tracetw"
    done = run_apart(f"mount -t tmpfs none {BINDINGS}", *as_nobody(script, "trace"))
    message = refusal(done)
    assert "not installed: python3-bpfcc; run it once as root: sudo " in message
    assert str(script) in message


@debian
def test_bcc_of_the_wrong_project(unready: Path, tmp_path: Path) -> None:
    (tmp_path / "__init__.py").touch()
    hide = f"mount --bind '{tmp_path}' {BINDINGS}/bcc"
    message = refusal(run_apart(hide, unready / "scripts/tracetw", "trace"))
    assert f"{BINDINGS}/bcc is not the BPF Compiler Collection" in message


def test_a_read_only_checkout_traces_without_tracefs(ready: Path) -> None:
    """Raw tracepoints need neither tracefs nor debugfs, so neither is mounted nor asked for."""
    mounts = (
        f"mount --bind '{ready}' '{ready}'\nmount -o remount,bind,ro '{ready}'\n"
        "tac /proc/mounts | while read -r _ at kind _; do\n"
        '    case $kind in tracefs | debugfs) umount "$at" ;; esac\ndone\n'
        "if grep -E ' (tracefs|debugfs) ' /proc/mounts >&2; then exit 9; fi"
    )
    done = run_apart(mounts, ready / "scripts/tracetw", "trace", "--", "true")
    assert done.returncode == 0, done.stderr


# --- what single commands need


def extras(ready: Path) -> set[str]:
    """What is installed beyond the base."""
    return set((ready / ".venv/.set-up").read_text(encoding="utf-8").splitlines()[2].split())


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["scripts/tracetw", "report", "--help"], 0),
        (["scripts/tracetw", "report", "/nonexistent"], 2),
        (["scripts/tracetw", "report", "--no-such-option", "."], 2),
        (["scripts/tracetw", "replay", "/nonexistent"], 2),
        (["scripts/tracetw", "query", "--help"], 0),
        (["scripts/tracetw", "query", "/nonexistent", "SELECT 1"], 2),
        (["scripts/tracetw", "record", "--help"], 0),
        (["scripts/tracetw", "record", "-o", "/nonexistent", "--max-size", "no"], 2),
        (["scripts/tracetw", "lab", "--help"], 0),
        (["scripts/tracetw", "lab", "list"], 0),
        (["scripts/tracetw", "lab", "run", "no-such-scenario"], 2),
        (["scripts/tracetw", "no-such-command"], 2),
        (["scripts/vm", "--help"], 0),
        (["scripts/vm", "no-such-command"], 2),
        (["scripts/test", "--help"], 0),
        (["scripts/setup", "--help"], 0),
        (["scripts/setup", "no-such-thing"], 2),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else str(value),
)
def test_nothing_is_installed_before_the_arguments_are_known_to_be_good(
    ready: Path, words: list[str], status: int
) -> None:
    before = extras(ready)
    done = run(ready / words[0], *words[1:])
    assert done.returncode == status, done.stderr
    assert "installing" not in done.stderr
    assert extras(ready) == before


def test_no_emulator_for_a_row_that_does_not_exist(ready: Path, tmp_path: Path) -> None:
    """A host without QEMU: what would install it is asked instead."""
    asked = tmp_path / "asked"
    (tmp_path / "apt-get").write_text(f'#!/bin/sh\necho "$*" >>{asked}\nexit 1\n')
    (tmp_path / "apt-get").chmod(0o755)
    search = f"{tmp_path}:{os.environ['PATH']}"
    done = run(ready / "scripts/vm", "run", "nosuch", "--", "true", env={"PATH": search})
    assert done.returncode == 2, done.stderr
    assert "there is no row nosuch" in done.stderr
    assert not asked.exists()


def test_a_package_that_does_not_import_ends_the_set_up(unready: Path) -> None:
    """In the words of its own import."""
    project = unready / "scripts/setup.bash"
    text = project.read_text(encoding="utf-8")
    assert "click msgspec numpy pyroute2 tabulate wcwidth" in text
    project.write_text(
        text.replace("click msgspec numpy pyroute2 tabulate wcwidth", "click no_such_module")
    )
    message = run(unready / "scripts/tracetw", "--version")
    assert message.returncode == 3
    assert "ModuleNotFoundError: No module named 'no_such_module'" in message.stderr
    assert not (unready / ".venv/.set-up").exists()


def test_what_worked_still_works_when_more_cannot_be_had(ready: Path, version: str) -> None:
    """Without a network a further extra fails, and only that."""
    assert "vm" not in extras(ready) or "lab" not in extras(ready)
    extra = "lab" if "lab" not in extras(ready) else "vm"
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/nonexistent"}
    done = run(ready / "scripts/setup", extra, env=offline)
    assert done.returncode == 3, done.stderr
    assert "pip could not install what is needed" in done.stderr
    check_output(run(ready / "scripts/tracetw", "--version", env=offline), version)


def test_a_venv_of_a_former_set_up_is_made_anew(unready: Path, version: str) -> None:
    """It saw the system's packages, and had a stamp for each extra."""
    made = run("/usr/bin/python3", "-I", "-m", "venv", "--system-site-packages", unready / ".venv")
    assert made.returncode == 0, made.stderr
    (unready / ".venv/.set-up-run").touch()
    done = run(unready / "scripts/tracetw", "--version")
    assert (done.returncode, done.stdout) == (0, version), done.stderr
    assert f"tracetw: making {unready}/.venv" in done.stderr
    settings = (unready / ".venv/pyvenv.cfg").read_text(encoding="utf-8")
    assert "include-system-site-packages = false" in settings
    assert not (unready / ".venv/.set-up-run").exists()


def test_on_a_terminal_it_shows_that_it_goes_on(unready: Path) -> None:
    """Seconds, on one line, which is cleared."""
    done = run("script", "-qec", f"'{unready}/scripts/tracetw' --version", "/dev/null")
    assert done.returncode == 0, done.stdout
    assert "tracetw: 1 s " in done.stdout
    assert "\033[K" in done.stdout


# --- a host whose own packages clash with ours

CLASHING = """
mkdir -p "$fake/bcc"
for name in click numpy pyarrow pyroute2 scapy tabulate duckdb yaml pytest mypy; do
    mkdir -p "$fake/$name" "$fake/$name-0.1.dist-info"
    echo "raise ImportError('the $name of the distribution')" >"$fake/$name/__init__.py"
    printf 'Metadata-Version: 2.1\\nName: %s\\nVersion: 999\\n' "$name" >"$fake/$name-0.1.dist-info/METADATA"
done
mount --bind {bindings}/bcc "$fake/bcc"
mount --rbind "$fake" {bindings}
"""
CONNECTS = (
    "import socket\n"
    "with socket.create_server(('127.0.0.1', 0)) as server:\n"
    "    for _ in range(20):\n"
    "        with socket.create_connection(server.getsockname()):\n"
    "            server.accept()[0].close()\n"
)


@debian
@pytest.mark.timeout(600)
def test_whatever_python_packages_the_distribution_has(unready: Path, tmp_path: Path) -> None:
    """All commands, and the tests with mypy, beside packages that fail at import and look newest."""
    (tmp_path / "connects.py").write_text(CONNECTS)
    steps = """
    "$here/scripts/tracetw" trace --duration 0.1
    "$here/scripts/tracetw" record -o "$out/rec" -- python3 -I "$out/connects.py"
    ls "$out"/rec/host=*/hour=*/*.parquet
    "$here/scripts/tracetw" report "$out/rec" --html "$out/page.html"
    "$here/scripts/tracetw" query "$out/rec" -o csv "SELECT count(*) AS closes FROM closes"
    "$here/scripts/tracetw" replay "$out/rec" -o json | head -n 1
    "$here/scripts/tracetw" lab run linger-0 -4
    cd "$here"
    "$here/scripts/test" -q -p no:cacheprovider tests/unit/test_lab_wire.py tests/unit/test_query.py
    .venv/bin/python -I -m mypy tracetw/lab/net/wire.py tracetw/lab/net/peer.py
    """
    mounts = (
        f"here='{unready}' out='{tmp_path}' fake='{tmp_path}/fake'\n"
        f"{CLASHING.format(bindings=BINDINGS)}\n{steps}"
    )
    done = run_apart(mounts, "true")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "of the distribution" not in done.stdout + done.stderr
    assert (tmp_path / "page.html").stat().st_size > 10_000
    assert '"closes"\n40\n' in done.stdout
    assert " passed" in done.stdout
    assert "Success: no issues found in 2 source files" in done.stdout


# --- whose code runs as root


def test_a_home_folder_has_no_say(ready: Path, tmp_path: Path) -> None:
    """Neither in the tracer nor in the child that compiles nor in the one that compacts."""
    (tmp_path / "connects.py").write_text(CONNECTS)
    trap = f"open({str(tmp_path / 'sprung')!r}, 'w').close()\n"
    site = next(ready.glob(".venv/lib/python3*/site-packages"))
    version = site.parent.name
    folder = tmp_path / "home/.local/lib" / version / "site-packages"
    folder.mkdir(parents=True)
    for name in ("usercustomize", "sitecustomize"):
        (folder / f"{name}.py").write_text(trap)
    env = {
        "HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(folder),
        "PYTHONSTARTUP": str(folder / "usercustomize.py"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    port = str(1024 + os.getpid() % 60_000)  # hardly compiled before
    words = [
        "record",
        "-o",
        str(tmp_path / "rec"),
        "--port",
        f"1-{port}",
        "--port",
        f"{port}-65535",
    ]
    script = str(tmp_path / "connects.py")
    done = run(ready / "scripts/tracetw", *words, "--", "python3", "-I", script, env=env)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("rec/host=*/hour=*/*.parquet"))
    assert not (tmp_path / "sprung").exists()


def test_compiling_is_announced_once(ready: Path, tmp_path: Path) -> None:
    cache = f"mount --bind '{tmp_path}' /var/cache/tracetw"
    Path("/var/cache/tracetw").mkdir(mode=0o700, exist_ok=True)
    tmp_path.chmod(0o700)
    words = (ready / "scripts/tracetw", "trace", "--", "true")
    said = [run_apart(cache, *words).stderr for _ in range(2)]
    assert [text.count("tracetw: compiling, once for these options\n") for text in said] == [1, 0]
