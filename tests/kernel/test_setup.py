# SPDX-License-Identifier: Apache-2.0
"""Set-up of a fresh checkout, in a folder with a space in its path, and of an installed wheel."""

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


def has_default_route() -> bool:
    """By IPv4 or IPv6, through something else than the loopback device."""
    four = Path("/proc/net/route").read_text(encoding="ascii").splitlines()[1:]
    six = Path("/proc/net/ipv6_route").read_text(encoding="ascii").splitlines()
    return any(line.split()[1] == "0" * 8 for line in four) or any(
        line.startswith("0" * 32 + " 00") and line.split()[-1] != "lo" for line in six
    )


pytestmark = [
    pytest.mark.kernel,
    pytest.mark.skipif(
        not has_default_route(), reason="nothing can be installed: there is no default route"
    ),
]

ROOT = Path(__file__).parents[2]
NOBODY = 65534
BINDINGS = "/usr/lib/python3/dist-packages"  # where Debian and Ubuntu keep the bindings of BCC

debian = pytest.mark.skipif(not Path(BINDINGS, "bcc").is_dir(), reason=f"no {BINDINGS}/bcc here")


def checkout(folder: Path) -> Path:
    """A copy of what git would have: everything tracked, and everything new that is not ignored."""
    # Git refuses the checkout of another user, which this one may be.
    git = ("git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT))
    listed = subprocess.run(
        [*git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def run(
    *command: str | Path, cwd: Path | str = "/", env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def run_apart(mounts: str, *command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run in a mount namespace of its own, after ``mounts``: a shell line that sees the command as $@."""
    return run("unshare", "--mount", "sh", "-ec", f'{mounts}\nexec "$@"', "sh", *command)


def check_output(done: subprocess.CompletedProcess[str], wanted: str) -> None:
    """It worked, printed exactly this and had nothing to say."""
    assert (done.returncode, done.stdout, done.stderr) == (0, wanted, "")


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of a start that cannot be."""
    assert done.returncode == 3, done.stderr
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.stderr


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


@pytest.fixture(scope="module")
def installed(folder: Path) -> Path:
    """A virtual environment with the wheel; the checkout it was built from is gone."""
    venv = folder / "installed here"
    source = checkout(folder / "source")
    made = run("/usr/bin/python3", "-I", "-m", "venv", "--system-site-packages", venv)
    assert made.returncode == 0, made.stderr
    pip = run(venv / "bin/python", "-I", "-m", "pip", "install", "--quiet", source)
    assert pip.returncode == 0, pip.stderr
    shutil.rmtree(source)
    return venv


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
    assert said.count("tracetw: installing from PyPI what is missing of click") == 1


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
    assert "installing from PyPI" in again.stderr
    assert "making" not in again.stderr
    check_output(run(ready / "scripts/tracetw", "--version"), version)


def as_nobody(*command: str | Path) -> tuple[str | Path, ...]:
    return "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *command


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


def test_the_wheel_has_the_command_and_the_bpf_sources(installed: Path, version: str) -> None:
    check_output(run(installed / "bin/tracetw", "--version"), version)
    (package,) = installed.glob("lib/python3*/site-packages/tracetw")
    sources = {path.relative_to(ROOT / "bpf") for path in (ROOT / "bpf").rglob("*.[ch]")}
    assert {path.relative_to(package / "_bpf") for path in (package / "_bpf").rglob("*.[ch]")} == (
        sources
    )


def test_the_wheel_traces(installed: Path, traps: Path) -> None:
    done = run(installed / "bin/tracetw", "trace", "--", "true", cwd=traps)
    assert done.returncode == 0, done.stderr


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
