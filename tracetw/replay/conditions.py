# SPDX-License-Identifier: Apache-2.0
"""Filters on recordings: namespaces and control groups are those of the recorded hosts."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tracetw.errors import BadInput
from tracetw.recording.reader import Recording
from tracetw.stream.filter import Filter, Places
from tracetw.stream.impossible import check
from tracetw.stream.parse import closest
from tracetw.text import visible, well_formed

_ALL = "all"
_INODE = re.compile(r"\d{1,10}", re.ASCII)
_ID = re.compile(r"\d{1,20}", re.ASCII)
_HEX = re.compile(r"[0-9a-f]{4,64}")


def recorded_filter(conditions: Mapping[str, Any], recordings: Sequence[Recording]) -> Filter:
    """The filter that options ask for.

    Args:
        conditions: texts of the options by name, as ``Filter.parse`` takes them.
        recordings: where the names of namespaces come from.

    Raises BadInput naming the value and the valid form.
    """
    places = Places(
        netns=lambda text: _netns(text, recordings),
        cgroup=lambda text: _cgroup(text, recordings),
        # As written: only the recorded host knew other names.
        container=lambda text: (
            text.lower() if _HEX.fullmatch(text.lower()) else well_formed(text),
        ),
    )
    wanted = Filter.parse(places=places, **conditions)
    check(wanted)
    return wanted


def _netns(text: str, recordings: Sequence[Recording]) -> list[int]:
    if text == _ALL:
        return []
    if _INODE.fullmatch(text) and int(text) < 1 << 32:
        return [int(text)]
    names: dict[str, set[int]] = {}
    for recording in recordings:
        header = recording.header
        for inode, name in header.netns_names.items():
            for shown in {name, visible(name)}:
                names.setdefault(shown, set()).add(inode)
    if text not in names:
        raise BadInput(
            f"--netns {text!r} is no network namespace of the recording{closest(text, names)}",
            "give a name that it had there, its inode number, or all",
        )
    return sorted(names[text])


def _cgroup(text: str, recordings: Sequence[Recording]) -> tuple[str, ...]:
    """Path without a final slash ("" for the root); an id as the path that it had."""
    if not _ID.fullmatch(text):
        path = well_formed(text.removeprefix("/sys/fs/cgroup"))
        return (("/" + path.strip("/")).rstrip("/"),)
    paths = [recording.cgroup_path(int(text)) for recording in recordings]
    known = [path for path in paths if path is not None]
    if not known:
        raise BadInput(
            f"--cgroup {text} is not in the recording", "give a path as in /system.slice"
        )
    return (known[0].rstrip("/"),)
