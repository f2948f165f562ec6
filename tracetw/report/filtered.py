# SPDX-License-Identifier: Apache-2.0
"""The filters of a recording in words: what is not in it because nobody wanted it."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping

_INODE_DIGITS = 10
_SAID = {
    "--port": "with port {}",
    "--local-port": "with local port {}",
    "--remote-port": "with remote port {}",
    "--addr": "with address {}",
    "--pid": "of pid {}",
    "--comm": "of program {}",
    "--netns": "in network namespace {}",
    "--cgroup": "of control group {}",
    "--container": "of container {}",
    "--verdict": "with verdict {}",
    "--min-duration": "that lived {} or longer",
    "-4": "over IPv4",
    "-6": "over IPv6",
    "--abnormal": "that ended abnormally",
}


def recorded_only(filters: Iterable[str], netns_names: Mapping[int, str]) -> str | None:
    """One sentence; None: everything was recorded.

    Args:
        filters: options as they were given; those of one name are alternatives, a ``!`` excludes.
        netns_names: for namespaces that were given by number.
    """
    wanted: dict[str, list[str]] = {}
    unknown: list[str] = []
    for each in filters:
        name, _, value = each.partition(" ")
        if name in _SAID:
            wanted.setdefault(name, []).append(_plain(value))
        else:
            unknown.append(each)
    parts = [*_parts(wanted, netns_names), *(f"as {each} chooses them" for each in unknown)]
    return f"only connections {', '.join(parts)} were recorded" if parts else None


def _parts(wanted: Mapping[str, list[str]], netns_names: Mapping[int, str]) -> Iterator[str]:
    for name, values in wanted.items():
        shown = [_known(value, netns_names) if name == "--netns" else value for value in values]
        only = [value for value in shown if not value.startswith("!")]
        but = [value.removeprefix("!") for value in shown if value.startswith("!")]
        if only or not but:
            yield _SAID[name].format(" or ".join(only))
        if but:
            yield _SAID[name].format(f"other than {' and '.join(but)}")


def _plain(value: str) -> str:
    """Without the quotes of a shell, which may be none: whoever wrote the recording chose them."""
    try:
        words = shlex.split(value)
    except ValueError:
        return value
    return ", ".join(" ".join(words).split(",")) if words else value


def _known(value: str, netns_names: Mapping[int, str]) -> str:
    number = value.removeprefix("!")
    if not (number.isascii() and number.isdecimal() and len(number) <= _INODE_DIGITS):
        return value
    name = netns_names.get(int(number))
    return f"{value} ({name})" if name else value
