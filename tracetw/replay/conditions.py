# SPDX-License-Identifier: Apache-2.0
"""Filters on recordings: namespaces and control groups are those of the recorded hosts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tracetw.errors import BadInput
from tracetw.recording.reader import Recording
from tracetw.stream.filter import Filter, closest
from tracetw.text import visible, well_formed

__all__ = ["recorded_filter"]

_ALL = "all"


def recorded_filter(conditions: Mapping[str, Any], recordings: Sequence[Recording]) -> Filter:
    """The filter that options ask for.

    Args:
        conditions: texts of the options by name, as ``Filter.parse`` takes them.
        recordings: where the names of namespaces come from.

    Raises BadInput naming the value and the valid form.
    """
    elsewhere = {**conditions, "netns": (), "cgroup": ()}
    inodes = [inode for text in conditions["netns"] for inode in _netns(text, recordings)]
    return replace(
        Filter.parse(**elsewhere),
        netns=frozenset(inodes)
        if conditions["netns"] and _ALL not in conditions["netns"]
        else None,
        cgroups=tuple(_cgroups(conditions["cgroup"], recordings)),
    )


def _netns(text: str, recordings: Sequence[Recording]) -> list[int]:
    if text == _ALL:
        return []
    if text.isascii() and text.isdigit():
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


def _cgroups(texts: Iterable[str], recordings: Sequence[Recording]) -> Iterable[str]:
    """Paths without a final slash ("" for the root); an id as the path that it had."""
    for text in texts:
        if not (text.isascii() and text.isdigit()):
            path = well_formed(text.removeprefix("/sys/fs/cgroup"))
            yield ("/" + path.strip("/")).rstrip("/")
            continue
        paths = [recording.cgroup_path(int(text)) for recording in recordings]
        known = [path for path in paths if path is not None]
        if not known:
            raise BadInput(
                f"--cgroup {text} is not in the recording", "give a path as in /system.slice"
            )
        yield known[0].rstrip("/")
