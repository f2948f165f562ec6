# SPDX-License-Identifier: Apache-2.0
"""What the shell offers when Tab is pressed: values of options, looked up when asked for.

Each function gets what click passes (context, parameter, the word so far) and answers with whole
words. Nothing here may fail: a value that cannot be looked up is not offered.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import TypeAlias

import click

from tracetw.verdict.hints import HINT_BIT
from tracetw.verdict.taxonomy import VERDICTS

EVENTS = ("retransmit", "timewait", "drop", "transition")
"""Values of ``--events``."""

Offer: TypeAlias = Callable[[click.Context, click.Parameter, str], list[str]]

_MOST = 1000
_COMM_FILES = 4096


def _listed(values: Callable[[], Iterable[str]]) -> Offer:
    """One value or several with commas, perhaps excluded by ``!``."""

    def offer(_context: click.Context, _parameter: click.Parameter, word: str) -> list[str]:
        head, comma, last = word.rpartition(",")
        mark = "!" if not comma and last.startswith("!") else ""
        begin, known = f"{head}{comma}{mark}", {*head.removeprefix("!").split(",")}
        return [
            f"{begin}{value}"
            for value in _safe(values)
            if value.startswith(last.removeprefix(mark)) and value not in known
        ][:_MOST]

    return offer


def _single(values: Callable[[], Iterable[str]]) -> Offer:
    """One value, perhaps excluded by ``!``."""

    def offer(_context: click.Context, _parameter: click.Parameter, word: str) -> list[str]:
        mark = "!" if word.startswith("!") else ""
        wanted = word.removeprefix("!")
        return [f"{mark}{value}" for value in _safe(values) if value.startswith(wanted)][:_MOST]

    return offer


def _safe(values: Callable[[], Iterable[str]]) -> list[str]:
    """In order; without what a shell would take apart or a terminal would act on."""
    with suppress(Exception):  # Tab must never print a traceback
        return sorted({value for value in values() if value.isprintable() and value.strip()})
    return []


def _codes() -> Iterable[str]:
    return (verdict.code for verdict in VERDICTS)


def _codes_and_events() -> Iterable[str]:
    from tracetw.verdict.handbook import GUIDES  # noqa: PLC0415 (much text)

    return [*GUIDES, *HINT_BIT]


def _scenarios() -> Iterable[str]:
    from tracetw.lab.catalogue import BY_NAME  # noqa: PLC0415 (labs load much)

    return BY_NAME


def _incidents() -> Iterable[str]:
    from tracetw.lab.incidents.catalogue import BY_NAME  # noqa: PLC0415 (labs load much)

    return BY_NAME


def _namespaces() -> Iterable[str]:
    from tracetw.host.netns import find  # noqa: PLC0415 (only one of them is needed)

    return [*(one.name or str(inode) for inode, one in find().items()), "all"]


def _comms() -> Iterable[str]:
    for pid in [name for name in os.listdir("/proc") if name.isdigit()][:_COMM_FILES]:  # noqa: PTH208
        with suppress(OSError):
            yield Path(f"/proc/{pid}/comm").read_text(errors="backslashreplace").rstrip("\n")


def _cgroups() -> Iterable[str]:
    from tracetw.host.cgroup import mount_point  # noqa: PLC0415

    mount = mount_point()
    if mount is None:
        return
    for folder, folders, _ in os.walk(mount):
        path = folder.removeprefix(mount) or "/"
        yield path
        if path.count("/") > 4:  # noqa: PLR2004 (deep enough for units and pods)
            folders.clear()


def _containers() -> Iterable[str]:
    from tracetw.host.cgroup import container  # noqa: PLC0415
    from tracetw.host.container import known  # noqa: PLC0415

    yield from known()
    yield from (identity[:12] for identity in map(container, _cgroups()) if identity)


verdicts = _listed(_codes)
events = _listed(lambda: EVENTS)
codes = _single(_codes_and_events)
scenarios = _single(_scenarios)
incidents = _single(_incidents)
namespaces = _single(_namespaces)
comms = _single(_comms)
cgroups = _single(_cgroups)
containers = _single(_containers)
