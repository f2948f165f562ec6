# SPDX-License-Identifier: Apache-2.0
"""``tracetw timewait``: what closing leaves behind, and when local ports run out."""

from __future__ import annotations

import math
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tracetw.cli import complete
from tracetw.cli.options import numeric_option, output_option
from tracetw.cli.pager import pager_option, show
from tracetw.errors import BadInput, CannotTrace, Failed, UserError, shortage
from tracetw.messages import say
from tracetw.stream.parse import seconds
from tracetw.text import json_line

if TYPE_CHECKING:
    from tracetw.timewait.carriers import Carriers
    from tracetw.timewait.snapshot import Snapshot

_RUNS_OUT = 4
_MOST = {"table": 20, "wide": 100, "json": 100}


@click.command(
    "timewait", short_help="Show TIME_WAIT and FIN_WAIT2, who carries them, and when ports run out."
)
@click.option(
    "--netns",
    metavar="NS",
    shell_complete=complete.namespaces,
    help="Only this network namespace: name, inode number or path; default: all.",
)
@click.option(
    "--listen",
    type=click.IntRange(1, 65535),
    metavar="PORT",
    help="Say what keeps somebody from listening on PORT.",
)
@click.option(
    "--recording",
    metavar="DIR",
    type=click.Path(),
    help="Name the owners of TIME_WAIT from this recording; default: that of a recorder that runs here.",
)
@click.option(
    "--watch",
    metavar="TIME",
    help="Name them from a trace of this long, which runs first: 10s, 1m. Ctrl-C ends it early.",
)
@click.option(
    "--check",
    type=click.FloatRange(0),
    metavar="MINUTES",
    help="Exit with 4 when local ports for a destination run out within so many minutes.",
)
@click.option(
    "--top",
    "most",
    type=click.IntRange(1, 100_000),
    metavar="N",
    help="Rows of each table; default: 5 of the table, 100 of wide and json.",
)
@output_option("Text, all of it, or one JSON object.", "table", "wide", "json")
@numeric_option
@pager_option
def command(
    netns: str | None,
    listen: int | None,
    recording: str | None,
    watch: str | None,
    check: float | None,
    most: int | None,
    output: str,
    pager: bool,
) -> int:
    """Show the sockets that closing leaves behind, in every network namespace.

    How many are in TIME_WAIT and FIN_WAIT2, by port, peer, address pair, owner and namespace, and how
    long they stay. FIN_WAIT2 of a process that called shutdown() has no limit. Then, for each source
    and destination, how many local ports are left and when they run out at the present rate; and in
    sentences what it means.

    It asks the kernel once and changes nothing; no trace needs to run. Namespaces of others need root.
    Who had the connection of a TIME_WAIT, and who closed it first and why, only a record of its end tells:
    that of tracetw record, if it runs, or of a trace with --watch.

    \b
    Examples:
      sudo tracetw timewait                 tables and sentences
      sudo tracetw timewait --check 5       exit 4 if ports run out within 5 minutes
      sudo tracetw timewait --listen 8080   what keeps a server from port 8080
      sudo tracetw timewait --watch 10s     trace for 10 s, then say who carries TIME_WAIT
      sudo tracetw timewait -o json | jq '.forecast[0]'
    """
    from tracetw.sink.schema import SCHEMA  # noqa: PLC0415 (loads NumPy)
    from tracetw.timewait.carriers import join  # noqa: PLC0415
    from tracetw.timewait.document import document  # noqa: PLC0415
    from tracetw.timewait.look import Look  # noqa: PLC0415

    if recording is not None and watch is not None:
        raise BadInput("--recording and --watch exclude each other", "give one of them")
    if check is not None and math.isnan(check):
        raise BadInput("--check: nan is no number of minutes", "give one, as in --check 5")
    longest = None if watch is None else seconds("--watch", watch)
    wanted = None if netns is None else _resolved(netns)
    records, source = _records(recording, longest)
    snapshot = _snapshot(wanted)
    carried = None if records is None else join(snapshot, records, source)
    look = Look(snapshot, carried, most=most or _MOST[output], listen=listen)
    found = document(look, SCHEMA)
    if output == "json":
        print(json_line(found))
    else:
        from tracetw.timewait.tables import text  # noqa: PLC0415 (not for JSON)

        width = shutil.get_terminal_size((80, 24)).columns
        shown = text(found, wide=output == "wide", width=width)
        show(shown, pager=pager and sys.stdout.isatty())
    if check is None:
        return 0
    if snapshot.unread:
        from tracetw.sink.human import amount  # noqa: PLC0415

        raise Failed(
            f"{amount(len(snapshot.unread), 'network namespace')} could not be read",
            "run it as root, or choose one with --netns",
        )
    nearest = min(
        (each.seconds_left for each in look.forecasts if each.seconds_left is not None),
        default=None,
    )
    return _RUNS_OUT if nearest is not None and nearest <= check * 60 else 0


def _resolved(netns: str) -> int | None:
    from tracetw.host.netns import ALL, resolve  # noqa: PLC0415

    wanted = resolve(netns)
    return None if wanted == ALL else wanted


def _records(recording: str | None, longest: float | None) -> tuple[Carriers | None, str]:
    """Close records, and where they come from; None without any."""
    if longest is not None:
        from tracetw.timewait.watched import watched  # noqa: PLC0415 (loads what traces)

        return watched(longest), "a trace before this"
    from tracetw.timewait.recorders import recorders  # noqa: PLC0415

    found = recorders() if recording is None else [Path(recording)]
    if not found:
        return None, ""
    from tracetw.timewait.recorded import joined, recorded  # noqa: PLC0415 (loads what reads recordings)

    if recording is not None:
        return recorded(found), recording
    parts, sources = [], []
    for folder in found:
        try:
            parts.append(recorded([folder]))
        except (UserError, OSError) as error:  # nobody asked for it
            say(f"without the recording of a recorder that runs here: {error}")
        else:
            sources.append(str(folder))
    return (joined(parts), " and ".join(sources)) if parts else (None, "")


def _snapshot(wanted: int | None) -> Snapshot:
    from tracetw.host import netlink  # noqa: PLC0415
    from tracetw.timewait.snapshot import take  # noqa: PLC0415

    try:
        return take(wanted)
    except OSError as error:
        if error.filename != netlink.NAME or shortage(error) is not None:
            raise
        raise CannotTrace(
            f"the kernel does not list TCP sockets: {error.strerror}",
            "load inet_diag: modprobe tcp_diag",
        ) from error
