# SPDX-License-Identifier: Apache-2.0
"""``tracetw timewait``: what closing leaves behind, and when local ports run out."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING

import click

from tracetw.cli import complete
from tracetw.cli.options import numeric_option, output_option
from tracetw.cli.pager import pager_option, show
from tracetw.errors import CannotTrace
from tracetw.text import json_line

if TYPE_CHECKING:
    from tracetw.timewait.look import Look

__all__ = ["command"]

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

    \b
    Examples:
      sudo tracetw timewait                 tables and sentences
      sudo tracetw timewait --check 5       exit 4 if ports run out within 5 minutes
      sudo tracetw timewait --listen 8080   what keeps a server from port 8080
      sudo tracetw timewait -o json | jq '.forecast[0]'
    """
    from tracetw.sink.schema import SCHEMA  # noqa: PLC0415 (loads NumPy)
    from tracetw.timewait.document import document  # noqa: PLC0415

    look = _look(netns, listen, most or _MOST[output])
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
    nearest = min(
        (each.seconds_left for each in look.forecasts if each.seconds_left is not None),
        default=None,
    )
    return _RUNS_OUT if nearest is not None and nearest <= check * 60 else 0


def _look(netns: str | None, listen: int | None, most: int) -> Look:
    from tracetw.host.netns import ALL, resolve  # noqa: PLC0415
    from tracetw.timewait.look import Look  # noqa: PLC0415
    from tracetw.timewait.snapshot import take  # noqa: PLC0415

    wanted = None if netns is None else resolve(netns)
    try:
        snapshot = take(None if wanted == ALL else wanted)
    except OSError as error:
        if error.filename != "NETLINK_SOCK_DIAG":
            raise
        raise CannotTrace(
            f"the kernel does not list TCP sockets: {error.strerror}",
            "load inet_diag: modprobe tcp_diag",
        ) from error
    return Look(snapshot, most=most, listen=listen)
