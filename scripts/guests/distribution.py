# SPDX-License-Identifier: Apache-2.0
"""The distributions of ``vagrant/boxes.yaml``: where each one's packages come from, and what signs them."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from scripts.guests.apt import KEYRINGS, Archive, find_mirror
from scripts.guests.cache import folder, locked
from scripts.guests.errors import BadInput, Missing
from scripts.guests.keyring import pin


@dataclass(frozen=True, slots=True)
class Distribution:
    """One of them. The fields are described on top of boxes.yaml.

    Attributes:
        name: as rows call it.
    """

    name: str
    label: str
    mirror: str
    keyring: str
    kernel: str
    components: str = "main"
    suites: tuple[str, ...] = ("{}",)
    key: str = ""
    keyring_package: str = ""
    keyring_suite: str = ""

    @property
    def variable(self) -> str:
        """Environment variable with the address of a mirror."""
        return f"TRACETW_{self.name.upper()}_MIRROR"


def parse(name: str, fields: object, where: str) -> Distribution:
    """One entry of the file. Raises BadInput that names what is wrong."""
    problem = _problem(fields)
    if problem or not isinstance(fields, Mapping):
        raise BadInput(f"{where}: distribution {name}: {problem}")
    whole: dict[str, Any] = dict(fields)
    if "suites" in whole:
        whole["suites"] = tuple(whole["suites"])
    return Distribution(name, **whole)


def _problem(fields: object) -> str:
    if not isinstance(fields, Mapping):
        return f"{fields!r} has no fields"
    known = [each for each in Distribution.__slots__ if each != "name"]
    for name, value in fields.items():
        if name not in known:
            return f"{name} is no field (there are {', '.join(known)})"
        listed = value if isinstance(value, list) and name == "suites" else [value]
        if not all(isinstance(each, str) for each in listed):
            return f"{name} is {value!r}, not words"
    missing = {"label", "mirror", "keyring", "kernel"} - set(fields)
    return f"{min(missing)} is missing" if missing else ""


@dataclass(slots=True)
class Mirrors:
    """Opens archives. What was looked up is remembered.

    Args:
        distributions: by name.
        given: addresses that the user gave, by the name of the distribution.
    """

    distributions: Mapping[str, Distribution]
    given: Mapping[str, str] = field(default_factory=dict)
    _known: dict[str, tuple[str, bool]] = field(default_factory=dict)

    def archive(self, name: str, suite: str, architecture: str) -> Archive:
        """A release of this distribution with its updates. Raises Missing."""
        distribution = self.distributions[name]
        if name not in self._known:
            self._known[name] = self._address(distribution)
        address, optional = self._known[name]
        return Archive(
            suite,
            architecture,
            address,
            folder("apt", f"{suite}-{architecture}"),
            suites=[each.format(suite) for each in distribution.suites],
            components=distribution.components,
            keyring=self.keyring(distribution),
            optional=optional,
            variable=distribution.variable,
        )

    def _address(self, distribution: Distribution) -> tuple[str, bool]:
        """Of its mirror; and did nobody here name it, so that no one promised that it can be reached?"""
        said = self.given.get(distribution.name) or os.environ.get(distribution.variable)
        if said:
            return said.rstrip("/"), False
        try:
            return find_mirror(distribution.label), False
        except Missing:
            if shutil.which("apt-get") is None:
                raise
            return distribution.mirror, True

    def keyring(self, distribution: Distribution) -> Path:
        """With the keys that may sign its packages: all that its own keyring has, or the one that is named.

        A host of another distribution takes the keyring out of its own distribution's package of that name, and
        runs nothing of it.
        """
        own = KEYRINGS / f"{distribution.keyring}.gpg"
        if not distribution.key:
            return own
        place = folder("keys")
        pinned = place / f"{distribution.key}.gpg"
        with locked(place, "the key of " + distribution.label):
            if not pinned.exists():
                fresh = pinned.with_suffix(".new")
                fresh.unlink(missing_ok=True)
                pin(own if own.exists() else self._fetched(distribution), distribution.key, fresh)
                fresh.rename(pinned)
        return pinned

    def _fetched(self, distribution: Distribution) -> Path:
        other = next(each for each in self.distributions.values() if not each.key)
        # The package has files for every architecture; apt wants to hear of one.
        source = self.archive(other.name, distribution.keyring_suite, "amd64")
        source.update()
        into = folder("keys", "unpacked")
        package = distribution.keyring_package
        source.extract(package, source.show(package)["Version"], into)
        return into / (KEYRINGS / f"{distribution.keyring}.gpg").relative_to("/")
