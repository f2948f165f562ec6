# SPDX-License-Identifier: Apache-2.0
"""Fresh checkouts, and commands run in them as a user would."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[3]
NOBODY = 65534
BINDINGS = "/usr/lib/python3/dist-packages"
"""Where Debian and Ubuntu keep the bindings of BCC, and all other Python packages."""
NO_ROUTE = "nothing can be installed: there is no default route"


def has_default_route() -> bool:
    """By IPv4 or IPv6, through something else than the loopback device."""
    four = Path("/proc/net/route").read_text(encoding="ascii").splitlines()[1:]
    six = Path("/proc/net/ipv6_route").read_text(encoding="ascii").splitlines()
    return any(line.split()[1] == "0" * 8 for line in four) or any(
        line.startswith("0" * 32 + " 00") and line.split()[-1] != "lo" for line in six
    )


def tracked() -> list[str]:
    """What git would have: everything tracked, and everything new that is not ignored."""
    # Git refuses the checkout of another user, which this one may be.
    git = ("git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT))
    listed = subprocess.run(
        [*git, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def checkout(folder: Path) -> Path:
    """A copy of what git would have."""
    for name in tracked():
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


def as_nobody(*command: str | Path) -> tuple[str | Path, ...]:
    return "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *command
