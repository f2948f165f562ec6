# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share, each set as one decorator."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from tracetw.errors import BadInput
from tracetw.stream.filter import Filter, closest

__all__ = [
    "filter_options",
    "parse_events",
    "parse_ready_fd",
    "recorded_filter_options",
    "room_option",
    "runnable",
    "use_color",
]

_EVENTS = ("retransmit", "timewait", "drop", "transition")
_PORTS = "N[-N][,...]"

# Option, value, help. An option given again matches either value.
_REPEATABLE = (
    ("--port", _PORTS, "Local or remote port: numbers, ranges, lists."),
    ("--local-port", _PORTS, "Local port."),
    ("--remote-port", _PORTS, "Remote port."),
    ("--addr", "ADDR[/LEN]", "Local or remote address or network, IPv4 or IPv6."),
    ("--pid", "PID", "Process that owns the socket."),
    ("--comm", "NAME", "Command name of that process; * and ? match."),
    ("--netns", "NS", "Network namespace: name, inode number, path or all (the default)."),
    ("--cgroup", "PATH|ID", "Control group of that process, with everything below it."),
    ("--verdict", "CODE,...", "Verdict; `tracetw explain` lists them."),
)
_ONCE = (
    click.option("--abnormal", is_flag=True, help="Only what went wrong."),
    click.option(
        "--min-duration", metavar="TIME", help="Lived at least this long: 500ms, 2s, 1m, 1h."
    ),
)
_PARAMETERS = (
    *(name.lstrip("-").replace("-", "_") for name, _, _ in _REPEATABLE),
    "abnormal",
    "min_duration",
)


room_option = click.option(
    "--max-connections",
    type=click.IntRange(1 << 10, 1 << 24),
    metavar="N",
    help="Live connections to have room for, 405 bytes of kernel memory each.",
    show_default="what half a percent of the memory holds, 65,536 to 1,048,576",
)
"""Size of the tables in the kernel."""


def filter_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the filter options; the command receives them as one ``filter_: Filter``."""

    @wraps(function)
    def command(*args: Any, **values: Any) -> Any:  # noqa: ANN401 (what click passes)
        chosen = {name: values.pop(name) for name in _PARAMETERS}
        return function(*args, filter_=Filter.parse(**chosen), **values)

    return _with_filters(command)


def recorded_filter_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same for recordings of other hosts; the command receives ``conditions``.

    Namespaces and control groups are those of the recorded host: ``report.conditions`` makes a
    ``Filter`` of them when the recordings are open.
    """

    @wraps(function)
    def command(*args: Any, **values: Any) -> Any:  # noqa: ANN401 (what click passes)
        conditions = {name: values.pop(name) for name in _PARAMETERS}
        return function(*args, conditions=conditions, **values)

    return _with_filters(command)


def _with_filters(decorated: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_ONCE):
        decorated = option(decorated)
    for name, metavar, text in reversed(_REPEATABLE):
        decorated = click.option(name, metavar=metavar, multiple=True, help=text)(decorated)
    return decorated


def parse_events(values: tuple[str, ...], transitions: bool) -> frozenset[str]:
    """Kinds of single events from ``--events`` and ``--transitions``. Raises BadInput."""
    kinds = {kind.strip() for value in values for kind in value.split(",")}
    for kind in sorted(kinds - {*_EVENTS}):
        raise BadInput(
            f"--events {kind!r} is no kind of event{closest(kind, _EVENTS)}",
            f"give any of {', '.join(_EVENTS)}",
        )
    return frozenset(kinds | {"transition"} if transitions else kinds)


def parse_ready_fd(number: int | None) -> int | None:
    """The descriptor of ``--ready-fd``, which is open. Raises BadInput."""
    if number is None:
        return None
    try:
        os.fstat(number)
    except (OSError, OverflowError):
        raise BadInput(
            f"--ready-fd {number} is not open", "give the number of a descriptor open for writing"
        ) from None
    return number


def runnable(words: tuple[str, ...]) -> tuple[str, ...]:
    """The command to run, which exists. Raises BadInput."""
    if words and shutil.which(words[0]) is None:
        raise BadInput(f"{words[0]}: no such command", "give a program on PATH after --")
    return words


def use_color(wanted: bool | None, terminal: bool) -> bool:
    """Whether to colour: as ``--color`` says, else on a terminal unless NO_COLOR is set."""
    if wanted is not None:
        return wanted
    return terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
