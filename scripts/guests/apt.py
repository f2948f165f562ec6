# SPDX-License-Identifier: Apache-2.0
"""Packages of any release of a distribution, fetched and verified by apt, and never installed.

apt runs with lists, sources and a (blank) status of its own: neither what the host has installed nor
its preferences have a say, and nothing of the host is changed. Signatures are checked against the
archive's keyring. How to reach a mirror (proxies, certificates) is taken from the host.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from scripts.guests.command import run
from scripts.guests.errors import Failed, Missing, Unreachable
from scripts.guests.paragraph import dependencies, fields

KEYRINGS = Path("/usr/share/keyrings")
KEYRING = KEYRINGS / "debian-archive-keyring.gpg"
# The hooks of the host's apt (APT::Update::Post-Invoke and others) are for the host's own packages.
_CONFIGURATION = """\
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
Dir::State "{0}/state";
Dir::State::lists "{0}/lists";
Dir::State::status "{0}/status";
Dir::Cache "{0}/cache";
Dir::Etc::sourcelist "{0}/sources.list";
Dir::Etc::sourceparts "/dev/null";
Dir::Etc::trusted "/dev/null";
Dir::Etc::trustedparts "/dev/null";
Dir::Etc::preferences "/dev/null";
Dir::Etc::preferencesparts "/dev/null";
APT::Architecture "{1}";
APT::Architectures {{ "{1}"; }};
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::IndexTargets::deb::Contents-deb::DefaultEnabled "false";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
"""


def find_mirror(distribution: str = "Debian") -> str:
    """Where the host gets the packages of this distribution from. Raises Missing on hosts of another."""
    if shutil.which("apt-get") is None:
        raise Missing("apt-get is not here", "kernels are fetched on Debian and Ubuntu only")
    form = "$(ORIGIN)\t$(LABEL)\t$(REPO_URI)"
    for line in run(["apt-get", "indextargets", "--format", form]).splitlines():
        origin, label, address = line.split("\t")
        if (origin, label) == (distribution, distribution):
            return address.rstrip("/")
    raise Missing(
        f"this host has no list of {distribution}'s packages",
        f"run apt-get update, or put the address of a mirror of {distribution} into"
        f" TRACETW_{distribution.upper()}_MIRROR",
    )


class Archive:
    """One release out of the archive, such as ``bookworm``.

    Args:
        suite: its name.
        architecture: of the packages, as the distribution calls it.
        mirror: address that has ``dists/`` and ``pool/``.
        folder: for lists and configuration, kept between runs.
        suites: what it consists of, such as the release and its updates; None for it alone.
        components: of each suite, with blanks between.
        keyring: whose keys may sign it.
        optional: nobody named this mirror, it may be out of reach.
        variable: of the environment, where a user can name another mirror.
    """

    def __init__(
        self,
        suite: str,
        architecture: str,
        mirror: str,
        folder: Path,
        *,
        suites: Sequence[str] | None = None,
        components: str = "main",
        keyring: Path = KEYRING,
        optional: bool = False,
        variable: str = "TRACETW_DEBIAN_MIRROR",
    ) -> None:
        if not keyring.exists():
            raise Missing(f"{keyring} is not here", f"install {keyring.stem}")
        self.suite = suite
        self.keyring = keyring
        self._folder = folder
        self.architecture = architecture
        self._mirror, self._optional, self._variable = mirror, optional, variable
        for name in ("state", "lists/partial", "cache/archives/partial"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        (folder / "status").touch()
        self.sources = [
            f"deb [signed-by={keyring} arch={architecture}] {mirror} {each} {components}"
            for each in suites or [suite]
        ]
        (folder / "sources.list").write_text("".join(f"{line}\n" for line in self.sources))
        self._configuration = folder / "apt.conf"
        self._configuration.write_text(_CONFIGURATION.format(folder, architecture))

    def update(self) -> None:
        """Fetch the signed lists. Raises Missing, also when only some could be had, Unreachable if that was to be expected."""
        options = ["-c", self._configuration, "-o", "APT::Update::Error-Mode=any"]
        try:
            run(["apt-get", *options, "update"])
        except Failed as error:
            kind = Unreachable if self._optional else Missing
            raise kind(
                f"the package list of {self.suite} cannot be had from {self._mirror}: {error.message}",
                f"can it be reached? {self._variable} names another mirror",
            ) from error

    def show(self, package: str) -> dict[str, str]:
        """The newest version of a package, field by field. Raises Failed when there is none."""
        command = ["apt-cache", "-c", self._configuration, "show", "--no-all-versions", package]
        try:
            return fields(run(command))
        except Failed as error:
            raise Failed(f"{self.suite} has no package {package}: {error.message}") from error

    def closure(self, package: str, wanted: re.Pattern[str]) -> dict[str, str]:
        """The package and all it depends on whose names are wanted: name to version."""
        found: dict[str, str] = {}
        waiting = [package]
        while waiting:
            name = waiting.pop()
            if name not in found:
                paragraph = self.show(name)
                found[name] = paragraph["Version"]
                waiting += [each for each in dependencies(paragraph) if wanted.fullmatch(each)]
        return found

    def extract(self, package: str, version: str, into: Path) -> None:
        """Download a package, verified, and unpack its files below ``into``."""
        downloads = self._folder / "downloads"
        shutil.rmtree(downloads, ignore_errors=True)
        downloads.mkdir()
        # apt-get download writes to the current folder only.
        script = 'cd -- "$1" && shift && exec apt-get "$@"'
        what = f"{package}={version}"
        run(["sh", "-c", script, "sh", downloads, "-c", self._configuration, "download", what])
        for file in downloads.glob("*.deb"):
            run(["dpkg-deb", "--extract", file, into])
        shutil.rmtree(downloads)
