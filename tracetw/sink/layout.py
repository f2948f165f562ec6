# SPDX-License-Identifier: Apache-2.0
"""The columns of a table: which there are, and how wide each one is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

_RESET = "\x1b[0m"
_BOLD = "\x1b[1m"
_DIM = "\x1b[2m"


@dataclass(frozen=True, slots=True)
class _Column:
    """A heading, a width, and whether numbers stand to the right in it."""

    name: str
    title: str
    width: int
    right: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """One arrangement of columns.

    Attributes:
        columns: from left to right.
        whole: nothing is cut, whatever its width.
    """

    columns: tuple[_Column, ...]
    whole: bool

    def width(self, name: str) -> int:
        """Of a column; 0 when there is no such column."""
        return next((column.width for column in self.columns if column.name == name), 0)

    def form(self, *, color: bool) -> str:
        """One line for ``%``: a text for each column.

        Texts of the columns ``netns``, ``process`` and ``known`` must be padded already: they may take more or
        fewer columns than they have characters. With ``color`` the verdict comes as two texts:
        the colour, then the verdict.
        """
        return " ".join(map(_place if not color else _colored_place, self.columns))

    def heading(self, *, color: bool) -> str:
        """The line with the titles."""
        titles = (
            column.title.rjust(column.width) if column.right else column.title.ljust(column.width)
            for column in self.columns
        )
        line = " ".join(titles).rstrip()
        return f"{_BOLD}{line}{_RESET}" if color else line


_PADDED = {"netns", "process", "known"}

# 80 columns: 8 + 17 + 1 + 17 + 12 + 20 and five spaces. 20 is the longest verdict.
_TIME, _NETNS, _LOCAL, _MARK, _REMOTE, _PROCESS, _VERDICT = (
    _Column("time", "TIME", 8),
    _Column("netns", "NETNS", 6),
    _Column("local", "LOCAL", 17),
    _Column("mark", "", 1),
    _Column("remote", "REMOTE", 17),
    _Column("process", "PROCESS", 12),
    _Column("verdict", "VERDICT", 20),
)
_NARROW = 80
_KNOWN = _Column("known", "KNOWN", 18)
# With so many columns there is room for it beside all that IPv4 needs; with a column of namespaces.
_KNOWN_FROM = {False: 129, True: 142}
# What the column of namespaces takes from the addresses, with the space beside it. 10.0.0.1:51234
# still fits on the right.
_TAKEN = {"local": 4, "remote": 3}
# Where more room goes, in this order, each column up to this width: addresses of IPv4 with their
# port, a name of 15 characters with a pid, an orderly close with its form and time, addresses of
# IPv6, the longest verdict with how a process died and a time; what is known of the ends; the rest to long
# names of namespaces.
_GROWTH = (
    ("remote", 21),
    ("local", 21),
    ("netns", 12),
    ("process", 23),
    ("verdict", 31),
    ("remote", 47),
    ("local", 47),
    ("verdict", 38),
    ("known", 60),
    ("netns", 255),
)
_WIDE = (
    _Column("time", "TIME", 12),
    _Column("netns", "NETNS", 10),
    _Column("local", "LOCAL", 21),
    _Column("mark", "", 1),
    _Column("remote", "REMOTE", 21),
    _Column("role", "ROLE", 6),
    _Column("process", "PROCESS", 23),
    _Column("verdict", "VERDICT", 26),
    _Column("form", "FORM", 16),
    _Column("by", "BY", 13),
    _Column("lived", "LIVED", 7, right=True),
    _Column("sent", "SENT", 5, right=True),
    _Column("received", "RECVD", 5, right=True),
    _Column("retransmits", "RETR", 4, right=True),
    _Column("known", "KNOWN", 40),
    _Column("why", "WHY", 3),
)


@lru_cache
def narrow(width: int, *, namespaces: bool) -> Layout:
    """A line of at most ``width`` columns, 80 or more.

    Args:
        width: of the line.
        namespaces: with a column for them.
    """
    columns = [_TIME, _LOCAL, _MARK, _REMOTE, _PROCESS, _VERDICT]
    if namespaces:
        columns.insert(1, _NETNS)
    if width >= _KNOWN_FROM[namespaces]:
        columns.append(_KNOWN)
    widths = {column.name: column.width for column in columns}
    if namespaces:
        widths |= {name: widths[name] - columns for name, columns in _TAKEN.items()}
    left = width - _NARROW - (_KNOWN.width + 1 if _KNOWN.name in widths else 0)
    for name, most in _GROWTH:
        if name in widths:
            more = min(left, max(most - widths[name], 0))
            widths[name] += more
            left -= more
    sized = (_Column(each.name, each.title, widths[each.name], each.right) for each in columns)
    return Layout(tuple(sized), whole=False)


@lru_cache
def wide() -> Layout:
    """Everything, on lines as long as they need to be."""
    return Layout(_WIDE, whole=True)


def _place(column: _Column) -> str:
    if column.name in _PADDED or column.name in ("mark", "why"):
        return "%s"
    return f"%{column.width}s" if column.right else f"%-{column.width}s"


def _colored_place(column: _Column) -> str:
    place = _place(column)
    if column.name == "time":
        return f"{_DIM}{place}{_RESET}"
    return f"%s{place}{_RESET}" if column.name == "verdict" else place
