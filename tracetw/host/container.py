# SPDX-License-Identifier: Apache-2.0
"""Which container a user means, and whether a control group belongs to it.

A runtime writes the id of a container into the path of its cgroup, LXC and systemd-nspawn write the
name. Docker and Podman keep the names of theirs in files, which only root can read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from tracetw.errors import BadInput
from tracetw.host.cgroup import container, mount_point
from tracetw.text import visible, well_formed

_DOCKER = Path("/var/lib/docker/containers")
_PODMAN = Path("/var/lib/containers/storage/overlay-containers/containers.json")
_LARGEST = 16 << 20
_MOST = 4096
_HEX = re.compile(r"[0-9a-f]{4,64}")
# lxc.payload.NAME and lxc/NAME of LXC, machine-NAME.scope of systemd-nspawn and libvirt.
_NAMED = re.compile(r"/(?:lxc\.payload\.|lxc/|machine-)([^/]+?)(?:\.scope)?(?=/|$)")
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")


def belongs(path: str | None, wanted: Iterable[str]) -> bool:
    """Is this cgroup in one of the containers ``wanted`` (beginnings of ids, or names)?"""
    if path is None:
        return False
    identity, names = container(path), {*_names(path)}
    names |= {visible(name) for name in names}
    return any(one in names or _begins(identity, one) for one in wanted)


def known() -> dict[str, str]:
    """Container ids by name, of those that Docker and Podman keep on this host."""
    found: dict[str, str] = {}
    with suppress(OSError):
        for folder in sorted(_DOCKER.iterdir())[:_MOST]:
            values = _read(folder / "config.v2.json")
            if isinstance(values, dict) and isinstance(values.get("Name"), str):
                found[values["Name"].lstrip("/")] = folder.name
    values = _read(_PODMAN)
    for one in values if isinstance(values, list) else ():
        names = one.get("names") if isinstance(one, dict) else None
        if isinstance(names, list) and isinstance(one.get("id"), str):
            found.update((name, one["id"]) for name in names if isinstance(name, str))
    return found


def resolve(text: str) -> tuple[str, ...]:
    """What :func:`belongs` compares with, for the id (or its beginning) or name of a container.

    Raises BadInput when no container of this host has that name.
    """
    by_name = known()
    if text in by_name:
        return (by_name[text],)
    if _HEX.fullmatch(text.lower()):
        return (text.lower(),)
    name, names = well_formed(text), _running()
    if name and (name in names or name in map(visible, names)):
        return (name,)
    raise BadInput(
        f"--container {text!r} is no container of this host",
        "give its id, or the first 4 hex digits of it or more",
    )


def _begins(identity: str | None, wanted: str) -> bool:
    """Ids are written with 64 digits or cut to 12, by users as well."""
    if identity is None or not _HEX.fullmatch(wanted):
        return False
    return identity.startswith(wanted) or (
        len(identity) < len(wanted) and wanted.startswith(identity)
    )


def _names(path: str) -> Iterator[str]:
    for match in _NAMED.finditer(path):
        yield match[1]
        yield _ESCAPED.sub(lambda byte: chr(int(byte[1], 16)), match[1])


def _running() -> set[str]:
    """Names that stand in paths of cgroups here, a few levels deep."""
    mount = mount_point()
    if mount is None:
        return set()
    root = Path(mount)
    found: set[str] = set()
    for pattern in ("*", "*/*", "*/*/*"):
        with suppress(OSError):
            for path in root.glob(f"{pattern}/"):
                found.update(_names(well_formed(f"/{path.relative_to(root)}")))
    return found


def _read(path: Path) -> Any:  # noqa: ANN401 (JSON)
    with suppress(OSError, ValueError, RecursionError), path.open("rb") as file:
        return json.loads(file.read(_LARGEST))
    return None
