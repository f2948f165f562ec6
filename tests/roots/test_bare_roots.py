# SPDX-License-Identifier: Apache-2.0
"""The two commands of the README, and all that follows them, in bare roots of other releases.

A root has what ``mmdebstrap --variant=minbase`` makes and nothing else, not even Python; the kernel is
the one that runs. Only with ``-m roots``: it fetches some 300 MB for each. How long each step took, and
what it took on disk, is printed (``-s``) and is in docs/set-up.md.

Debian signs a package with Ubuntu's keys. Of these one is trusted, by its fingerprint (vagrant/boxes.yaml). Where
Ubuntu's packages come from the host says, when it is Ubuntu itself, or TRACETW_UBUNTU_MIRROR.
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.guests.apt import KEYRINGS, Archive, find_mirror
from scripts.guests.architecture import this_architecture
from scripts.guests.command import run
from scripts.guests.distribution import Mirrors
from scripts.guests.errors import Missing, Unreachable
from scripts.guests.keyring import fingerprints
from scripts.guests.root import APART, bootstrap, reaching_an_index
from scripts.guests.rows import distributions
from tests.kernel.kit.checkout import checkout

pytestmark = [pytest.mark.roots, pytest.mark.timeout(1800)]

CHECKOUT = "opt/tracetw"
CONNECTS = """import socket
with socket.create_server(("127.0.0.1", 0)) as server:
    for _ in range(50):
        with socket.create_connection(server.getsockname()):
            server.accept()[0].close()
"""
ENTER = """
mount -t proc proc "$1/proc"
mount --rbind /sys "$1/sys"
mount --rbind /dev "$1/dev"
[ ! -d /etc/ssl/certs ] || mount --bind /etc/ssl/certs "$1/etc/ssl/certs"
root=$1; shift
exec chroot "$root" sh -ec 'cd /opt/tracetw && exec "$@"' sh "$@"
"""


@dataclass(frozen=True, slots=True)
class Bare:
    """A root; ``own`` is what the user had installed before, of which distribution."""

    name: str
    suite: str
    own: tuple[str, ...] = ()
    distribution: str = "debian"


BARE = (
    Bare("debian-12", "bookworm"),
    Bare("debian-12-numpy", "bookworm", ("python3-numpy", "python3-click", "python3-scapy")),
    Bare("debian-13", "trixie"),
    Bare("ubuntu-22.04", "jammy", distribution="ubuntu"),
    Bare("ubuntu-24.04", "noble", distribution="ubuntu"),
)


def archive(bare: Bare) -> Archive:
    """Where its packages come from, verified and read."""
    mirrors = Mirrors(distributions())
    try:
        found = mirrors.archive(bare.distribution, bare.suite, this_architecture().debian)
        found.update()
    except Unreachable as error:
        pytest.skip(str(error))
    return found


def test_the_key_of_ubuntu_comes_verified_and_is_all_that_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    known = distributions()
    key = Mirrors(known).keyring(known["ubuntu"])
    assert fingerprints(key) == [known["ubuntu"].key]
    architecture = this_architecture().debian
    other = Archive("bookworm", architecture, find_mirror(), tmp_path / "other", keyring=key)
    with pytest.raises(Missing, match="NO_PUBKEY"):
        other.update()


@dataclass(frozen=True, slots=True)
class Root:
    """One that was made."""

    path: Path
    env: dict[str, str]

    def __call__(self, *words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        """Run it in the checkout there; says how long that took, and what it added on disk."""
        before, began = self.used(), time.monotonic()
        done = subprocess.run(
            [*APART, "sh", "-ec", ENTER, "sh", str(self.path), *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=self.env,
            check=False,
        )
        took, added = time.monotonic() - began, self.used() - before
        print(f"{took:6.1f} s {added:5} MB  {' '.join(words)[:60]}")
        assert done.returncode == status, done.stdout + done.stderr
        return done

    def used(self) -> int:
        """MB on disk."""
        return int(run(["du", "-sxm", self.path]).split()[0])


@pytest.fixture(params=BARE, ids=lambda bare: bare.name)
def bare(request: pytest.FixtureRequest) -> Iterator[Root]:
    """A root with the checkout in it, which is removed in the end."""
    one: Bare = request.param
    if os.geteuid() != 0:
        pytest.skip(f"needs root, is uid {os.geteuid()}")
    with tempfile.TemporaryDirectory(prefix="tracetw-root-", dir="/var/tmp") as name:
        source = archive(one)
        path = Path(name, "root")
        bootstrap(path, source, ("ca-certificates", *one.own))
        # The keyring that made it is not in it.
        sources = path / "etc/apt/sources.list"
        trusted = KEYRINGS / f"{distributions()[one.distribution].keyring}.gpg"
        lines = [line.replace(str(source.keyring), str(trusted)) for line in source.sources]
        sources.write_text("".join(f"{line}\n" for line in lines))
        shutil.copy("/etc/resolv.conf", path / "etc/resolv.conf", follow_symlinks=True)
        acquire = [
            line for line in run(["apt-config", "dump"]).splitlines() if line.startswith("Acquire:")
        ]
        (path / "etc/apt/apt.conf.d/90host").write_text("\n".join(acquire) + "\n")
        checkout(path / CHECKOUT)
        (path / "opt/connects.py").write_text(CONNECTS)
        variables = {
            name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")
        }
        search = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        env = {"PATH": search, "HOME": "/root", "LANG": "C.UTF-8", **variables}
        print(f"\n{one.name}, {platform.machine()}")
        yield Root(path, {**env, **reaching_an_index()})


def test_the_two_commands_and_what_follows(bare: Root) -> None:
    first = bare("scripts/tracetw", "trace", "--duration", "0.1")
    assert "installing from the distribution: " in first.stderr
    assert "tracetw: compiling, once for these options" in first.stderr
    assert "lost: nothing" in first.stderr
    second = bare("scripts/tracetw", "trace", "--duration", "0.1")
    assert "installing" not in second.stderr
    assert "compiling" not in second.stderr
    done = bare("scripts/tracetw", "record", "-o", "/opt/rec", "--", "python3", "/opt/connects.py")
    assert "Apache Arrow" in done.stderr
    assert "lost: nothing" in done.stderr
    assert list(bare.path.glob("opt/rec/host=*/hour=*/*.closes.parquet"))
    done = bare("scripts/tracetw", "report", "/opt/rec", "--html", "/opt/page.html")
    assert "100 connections ended" in done.stdout
    assert (bare.path / "opt/page.html").stat().st_size > 10_000
    sql = "SELECT count(*) AS n FROM closes"
    done = bare("scripts/tracetw", "query", "/opt/rec", "-o", "csv", sql)
    assert done.stdout == '"n"\n100\n'
    assert bare("scripts/tracetw", "replay", "/opt/rec").stdout.count("orderly") == 100
    bare("scripts/tracetw", "--version")
    done = bare(
        "scripts/test", "--unit", "-q", "tests/unit", "--deselect", "tests/unit/test_vm_rows.py"
    )
    assert " passed" in done.stdout
    assert " failed" not in done.stdout
