# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share, each set as one decorator."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from tracetw.filter import Filter

__all__ = ["filter_options"]

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


def filter_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the filter options; the command receives them as one ``filter_: Filter``."""

    @wraps(function)
    def command(*args: Any, **values: Any) -> Any:  # noqa: ANN401 (what click passes)
        chosen = {name: values.pop(name) for name in _PARAMETERS}
        return function(*args, filter_=Filter.parse(**chosen), **values)

    decorated: Callable[..., Any] = command
    for option in reversed(_ONCE):
        decorated = option(decorated)
    for name, metavar, text in reversed(_REPEATABLE):
        decorated = click.option(name, metavar=metavar, multiple=True, help=text)(decorated)
    return decorated
