# SPDX-License-Identifier: Apache-2.0
"""Options that several commands share, each set declared once as a decorator.

Loads no NumPy before a command runs: help and completion are asked for more often.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import click

from tracetw.cli import complete
from tracetw.errors import BadInput
from tracetw.messages import say
from tracetw.stream.parse import COMM_BYTES, closest, seconds
from tracetw.text import decoded

if TYPE_CHECKING:
    from tracetw.stream.filter import Filter

__all__ = [
    "event_options",
    "filter_options",
    "live_filter",
    "make_folder",
    "numeric_option",
    "output_option",
    "parse_duration",
    "parse_events",
    "parse_ready_fd",
    "parse_speed",
    "pcap_option",
    "recorded_filter_options",
    "run_options",
    "runnable",
    "table_options",
    "use_color",
    "window_options",
]

Command: TypeAlias = Callable[..., Any]

_EVENTS = complete.EVENTS
_PORTS = "[!]N[-N][,...]"

# Option, value, help, values to offer. An option given again matches either value.
_REPEATABLE = (
    (("-P", "--port"), _PORTS, "Local or remote port: numbers, ranges, lists.", None),
    (("-L", "--local-port"), _PORTS, "Local port.", None),
    (("-D", "--remote-port"), _PORTS, "Remote port.", None),
    (
        ("--addr",),
        "[!]ADDR[/LEN]",
        "Local or remote address or network, IPv4 or IPv6.",
        None,
    ),
    (("-p", "--pid"), "[!]PID", "Process that owns the socket.", None),
    (
        ("--comm",),
        "[!]NAME",
        "Command name of that process; * and ? match. The kernel keeps 15 bytes of it.",
        complete.comms,
    ),
    (
        ("--netns",),
        "[!]NS",
        "Network namespace: name, inode number, path or all (the default).",
        complete.namespaces,
    ),
    (
        ("--cgroup",),
        "[!]PATH|ID",
        "Control group of that process, with everything below it.",
        complete.cgroups,
    ),
    (
        ("--container",),
        "[!]ID|NAME",
        "Container of that process: its id, the beginning of it, or its name.",
        complete.containers,
    ),
    (
        ("--verdict",),
        "[!]CODE,...",
        "Verdict; `tracetw explain` lists them.",
        complete.verdicts,
    ),
)
_ONCE = (
    click.option("-4", "four", is_flag=True, help="IPv4 only."),
    click.option("-6", "six", is_flag=True, help="IPv6 only."),
    click.option("--abnormal", is_flag=True, help="Only what went wrong."),
    click.option(
        "--min-duration", metavar="TIME", help="Lived at least this long: 500ms, 2s, 1m, 1h."
    ),
)
_PARAMETERS = (
    *(names[-1].lstrip("-").replace("-", "_") for names, *_ in _REPEATABLE),
    "four",
    "six",
    "abnormal",
    "min_duration",
)


def filter_options(function: Command) -> Command:
    """Add the filter options; the command receives them as one ``filter_: Filter``."""

    @wraps(function)
    def command(*args: Any, **values: Any) -> Any:  # noqa: ANN401 (what click passes)
        return function(
            *args, filter_=live_filter(_taken(values), values.get("duration")), **values
        )

    return _with_filters(command)


def recorded_filter_options(function: Command) -> Command:
    """The same for recordings of other hosts; the command receives ``conditions``.

    Namespaces and control groups are those of the recorded host: ``replay.conditions`` makes a
    ``Filter`` of them when the recordings are open.
    """

    @wraps(function)
    def command(*args: Any, **values: Any) -> Any:  # noqa: ANN401 (what click passes)
        return function(*args, conditions=_taken(values), **values)

    return _with_filters(command)


def _taken(values: dict[str, Any]) -> dict[str, Any]:
    conditions = {name: values.pop(name) for name in _PARAMETERS}
    for text in conditions["comm"]:
        name = text.removeprefix("!")
        raw = os.fsencode(name)
        short = decoded(raw[:COMM_BYTES])
        if len(raw) > COMM_BYTES and not set(name) & set("*?[\\"):
            say(
                f"--comm {name!r}: the kernel keeps {COMM_BYTES} bytes of a name; taken as {short!r}"
            )
    return conditions


def live_filter(conditions: dict[str, Any], duration: str | None) -> Filter:
    """The filter of conditions on this host, for a trace of ``duration``. Raises BadInput."""
    from tracetw.stream.filter import Filter  # noqa: PLC0415 (loads NumPy)
    from tracetw.stream.impossible import check  # noqa: PLC0415

    wanted = Filter.parse(**conditions)
    check(wanted, parse_duration(duration))
    return wanted


def _with_filters(decorated: Command) -> Command:
    decorated = _stacked(_ONCE, decorated)
    for names, metavar, text, offer in reversed(_REPEATABLE):
        decorated = click.option(
            *names, metavar=metavar, multiple=True, help=text, shell_complete=offer
        )(decorated)
    return decorated


def event_options(*, recorded: bool = False) -> Callable[[Command], Command]:
    """``--transitions`` and ``--events``; the command receives ``kinds``, a frozenset of names.

    ``recorded`` says in the help that only what was recorded is there.
    """
    there = ", if recorded" if recorded else ""

    def decorate(function: Command) -> Command:
        @wraps(function)
        def command(*args: Any, **values: Any) -> Any:  # noqa: ANN401 (what click passes)
            kinds = parse_events(values.pop("events"), values.pop("transitions"))
            return function(*args, kinds=kinds, **values)

        options = (
            click.option(
                "--transitions", is_flag=True, help=f"Also every change of TCP state{there}."
            ),
            click.option(
                "--events",
                metavar="KIND,...",
                multiple=True,
                shell_complete=complete.events,
                help=f"Also single events{there}: {', '.join(_EVENTS)}.",
            ),
        )
        return _stacked(options, command)

    return decorate


def run_options(function: Command) -> Command:
    """How much room, how long, and what meanwhile: ``max_connections``, ``duration``, ``ready_fd``, ``cmd``."""
    options = (
        click.option(
            "--max-connections",
            type=click.IntRange(1 << 10, 1 << 24),
            metavar="N",
            help="Live connections to have room for, 405 bytes of kernel memory each.",
            show_default="what half a percent of the memory holds, 65,536 to 1,048,576",
        ),
        click.option("--duration", metavar="TIME", help="Stop after this time: 30, 30s, 5m."),
        click.option(
            "--ready-fd", type=int, metavar="N", help="Write one byte to it when attached."
        ),
        click.argument("cmd", metavar="[-- CMD ...]", nargs=-1, type=click.UNPROCESSED),
    )
    return _stacked(options, function)


def output_option(text: str, *formats: str) -> Callable[[Command], Command]:
    """``-o`` with the first format as the default."""
    return click.option(
        "-o",
        "--output",
        type=click.Choice(formats),
        default=formats[0],
        show_default=True,
        help=text,
    )


def pcap_option(function: Command) -> Command:
    """Where the captures of a lab stay: ``pcap``."""
    return click.option(
        "--pcap",
        type=click.Path(path_type=Path, file_okay=False),
        metavar="DIR",
        help="Keep the captures there.",
    )(function)


def make_folder(option: str, folder: Path | None) -> None:
    """The folder that an option names, if it names one. Raises BadInput."""
    try:
        if folder is not None:
            folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{option} {folder}: {error.strerror}", "give a folder") from None


def table_options(function: Command) -> Command:
    """How lines are printed: ``output``, ``color`` and ``utc``."""
    options = (
        output_option(
            "As wide as the terminal, everything on one long line, or JSON lines.", *_LINES
        ),
        click.option(
            "--color/--no-color", default=None, help="Colours; default: on a terminal only."
        ),
        click.option(
            "--utc", is_flag=True, help="Times of the table in UTC instead of local time."
        ),
        numeric_option,
    )
    return _stacked(options, function)


_LINES = ("table", "wide", "json")


def numeric_option(function: Command) -> Command:
    """``-n``, which fingers type after ``ss`` and ``tcpdump``."""
    return click.option(
        "-n",
        "--numeric",
        is_flag=True,
        expose_value=False,
        help="Accepted as ss has it: addresses and ports are numbers, names stand beside them.",
    )(function)


def window_options(function: Command) -> Command:
    """A part of the recorded time: ``since`` and ``until``."""
    options = (
        click.option(
            "--since",
            metavar="TIME",
            help="From then on: 12:04, 2026-01-02T12:04:07Z, or 30m before the end.",
        ),
        click.option("--until", metavar="TIME", help="Until then."),
    )
    return _stacked(options, function)


def _stacked(options: Iterable[Callable[[Command], Command]], function: Command) -> Command:
    """Decorated so that the help shows the options in this order."""
    for option in reversed([*options]):
        function = option(function)
    return function


def parse_duration(text: str | None) -> float | None:
    """Seconds of ``--duration``; None without it. Raises BadInput."""
    return None if text is None else seconds("--duration", text)


def parse_speed(text: str) -> float | None:
    """Times as fast as it happened; None for ``max``, as fast as possible. Raises BadInput."""
    if text == "max":
        return None
    try:
        speed = float(text)
    except ValueError:
        speed = 0.0
    if not 0 < speed < float("inf"):
        raise BadInput(f"--speed {text!r} is no speed", "give 1, 10, another number, or max")
    return speed


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
    from shutil import which  # noqa: PLC0415  with it come three compressors

    if words and which(words[0]) is None:
        raise BadInput(f"{words[0]}: no such command", "give a program on PATH after --")
    return words


def use_color(wanted: bool | None, terminal: bool) -> bool:
    """Whether to colour: as ``--color`` says, else on a terminal unless NO_COLOR is set."""
    if wanted is not None:
        return wanted
    return terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
