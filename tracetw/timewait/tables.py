# SPDX-License-Identifier: Apache-2.0
"""A look as text: tables from the JSON document, sentences below them."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from tracetw.text import columns, padded, visible

_Row: TypeAlias = Mapping[str, Any]
_Cell: TypeAlias = Callable[[_Row], str]
_WRAP = 78
_FEW = 10  # ports in use that are worth a line


def text(document: _Row, *, wide: bool, width: int = _WRAP) -> str:
    """The same facts as ``-o json``; ``wide`` has all columns and rows."""
    several = len(document["namespaces"]) + len(document["unread"]) > 1
    rows = None if wide else 5
    parts = [_heading(document)]
    for title, key, cells in _TABLES:
        chosen = [
            (head, cell)
            for head, cell, always in cells
            if (wide or always) and (several or head != "NETNS")
        ]
        found = [row for row in document[key] if wide or _worth(key, row)]
        if found:
            parts += ["", title, *_table(chosen, found[:rows])]
            more = len(found[rows:]) if rows else 0
            more += document["omitted"].get(key, 0) if key != "forecast" else 0
            parts += [f"and {more:,} more"] if more else []
    if document["notes"]:
        parts.append("")
        wrap = textwrap.TextWrapper(max(width, 40), initial_indent="- ", subsequent_indent="  ")
        for note in document["notes"]:
            parts += wrap.wrap(visible(note["text"]))
    return "\n".join(parts) + "\n"


def _heading(document: _Row) -> str:
    counts = document["sockets"]
    said = [
        f"TIME_WAIT {counts['time_wait']:,}",
        f"FIN_WAIT2 {counts['fin_wait2_orphan']:,} orphans, {counts['fin_wait2_owned']:,} held",
    ]
    said += [
        f"{name.upper()} {counts[f'{name}_orphan']:,}"
        for name in ("fin_wait1", "closing", "last_ack")
        if counts[f"{name}_orphan"]
    ]
    carriers = document["carriers"]
    if carriers["from"] is not None:
        said.append(f"carriers known of {carriers['known']:,}, from {visible(carriers['from'])}")
    return "   ".join(said)


def _worth(key: str, row: _Row) -> bool:
    """Is it shown unless everything is?"""
    if key == "namespaces":
        return any(row[name] for name in _COUNTS) or bool(row["buckets"]["used"])
    if key == "forecast":
        used = row["capacity"] - row["free"] + row["reusable"]
        return row["exhausted_in_s"] is not None or used >= _FEW
    return True


def _table(cells: Sequence[tuple[str, _Cell]], rows: Sequence[_Row]) -> list[str]:
    grid = [[head for head, _ in cells], *([cell(row) for _, cell in cells] for row in rows)]
    widths = [max(columns(line[at]) for line in grid) for at in range(len(cells))]
    numeric = [
        all(line[at][:1].isdigit() or line[at] == "-" for line in grid[1:])
        for at in range(len(cells))
    ]
    return [
        "  ".join(
            " " * (size - columns(cell)) + cell if right else padded(cell, size)
            for cell, size, right in zip(line, widths, numeric, strict=True)
        ).rstrip()
        for line in grid
    ]


def _plain(name: str) -> _Cell:
    def cell(row: _Row) -> str:
        value = row[name]
        if value is None:
            return "-"
        return (
            f"{value:,}" if isinstance(value, int) and "port" not in name else visible(str(value))
        )

    return cell


def _netns(row: _Row) -> str:
    return visible(row["netns_name"] or str(row["netns"]))


def _sum(*names: str) -> _Cell:
    return lambda row: f"{sum(row[name] for name in names):,}"


def _left(row: _Row) -> str:
    return "-" if row["seconds_left"] is None else f"{row['seconds_left']:.1f}s"


def _process(row: _Row) -> str:
    if row["comm"] is None and row["pid"] is None:
        return "-"
    name = "?" if row["comm"] is None else row["comm"]
    return visible(name if row["pid"] is None else f"{name}/{row['pid']}")


def _end(side: str) -> _Cell:
    def cell(row: _Row) -> str:
        address, port = row[side]["addr"], row[side].get("port")
        if address is None:
            return "all"
        shown = f"[{address}]" if ":" in address and port is not None else address
        return shown if port is None else f"{shown}:{port}"

    return cell


def _buckets(row: _Row) -> str:
    used, limit = row["buckets"]["used"], row["buckets"]["limit"]
    return f"{'-' if used is None else f'{used:,}'} of {'-' if limit is None else f'{limit:,}'}"


def _out_in(row: _Row) -> str:
    left = row["exhausted_in_s"]
    return "-" if left is None else "now" if left == 0 else f"{left:.1f}s"


def _rate(row: _Row) -> str:
    return "-" if row["rate_per_s"] is None else f"{row['rate_per_s']:.1f}"


_COUNTS = (
    "time_wait",
    "fin_wait2_orphan",
    "fin_wait2_owned",
    "fin_wait1_orphan",
    "closing_orphan",
    "last_ack_orphan",
)
_ORPHANS = _COUNTS[3:]
_COLUMNS: tuple[tuple[str, _Cell, bool], ...] = (
    ("TIME_WAIT", _plain("time_wait"), True),
    ("FIN_WAIT2", _plain("fin_wait2_orphan"), True),
    ("HELD", _plain("fin_wait2_owned"), True),
    ("ORPHANS", _sum(*_ORPHANS), True),
)
_PLACE: tuple[tuple[str, _Cell, bool], ...] = (("NETNS", _netns, True),)
_TABLES: tuple[tuple[str, str, tuple[tuple[str, _Cell, bool], ...]], ...] = (
    (
        "BY NAMESPACE",
        "namespaces",
        (
            ("NETNS", _netns, True),
            *_COLUMNS,
            ("BUCKETS", _buckets, True),
            ("PORTS", lambda row: f"{row['ports']['free_for_connect']:,}", True),
            ("BOUND", lambda row: f"{row['ports']['held']:,}", True),
            ("REUSE", lambda row: _plain("tcp_tw_reuse")(row["settings"]), False),
            ("TIMESTAMPS", lambda row: _plain("tcp_timestamps")(row["settings"]), False),
        ),
    ),
    (
        "LOCAL PORTS FOR A DESTINATION",
        "forecast",
        (
            *_PLACE,
            ("SOURCE", _end("local"), True),
            ("DESTINATION", _end("remote"), True),
            ("PORTS", _plain("capacity"), True),
            ("LIVE", _plain("live"), True),
            ("TIME_WAIT", _plain("time_wait"), True),
            ("REUSABLE", _plain("reusable"), False),
            ("BOUND", _plain("held"), False),
            ("FREE", _plain("free"), True),
            ("PER SECOND", _rate, True),
            ("CHOSEN BY", _plain("port_chosen_by"), False),
            ("OUT IN", _out_in, True),
        ),
    ),
    (
        "BY OWNER",
        "by_owner",
        (
            *_PLACE,
            ("PROCESS", _process, True),
            ("KNOWN FROM", _plain("owner_from"), True),
            *_COLUMNS,
            ("LEFT", _left, True),
        ),
    ),
    (
        "BY LOCAL PORT",
        "by_port",
        (
            *_PLACE,
            ("PORT", lambda row: str(row["local"]["port"]), True),
            ("DIRECTION", _plain("direction"), True),
            *_COLUMNS,
            ("LEFT", _left, True),
        ),
    ),
    (
        "BY PEER",
        "by_peer",
        (*_PLACE, ("PEER", _end("remote"), True), *_COLUMNS, ("LEFT", _left, True)),
    ),
    (
        "BY ADDRESS PAIR",
        "by_pair",
        (
            *_PLACE,
            ("LOCAL", _end("local"), True),
            ("REMOTE", _end("remote"), True),
            *_COLUMNS,
            ("LEFT", _left, True),
        ),
    ),
    (
        "NOT CLOSED YET",
        "stuck",
        (
            *_PLACE,
            ("STATE", _plain("state"), True),
            ("LOCAL", _end("local"), True),
            ("REMOTE", _end("remote"), True),
            ("PROCESS", _process, True),
            ("UNACKED", _plain("bytes_unacked"), True),
            ("UNSENT", _plain("bytes_unsent"), True),
            ("LEFT", _left, True),
        ),
    ),
)
