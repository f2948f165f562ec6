# SPDX-License-Identifier: Apache-2.0
"""``tracetw query``: SQL over recordings."""

from __future__ import annotations

import sys
from contextlib import suppress

import click

from tracetw.errors import BadInput

__all__ = ["command"]


@click.command("query", short_help="Ask recordings in SQL.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@click.argument("sql", metavar="SQL")
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json", "csv", "parquet"]),
    default="table",
    show_default=True,
    help="A table, JSON lines, CSV, or a Parquet file.",
)
@click.option(
    "--to",
    "target",
    metavar="FILE",
    help="Write to FILE, in place of one that is there, instead of to standard output.",
)
def command(paths: tuple[str, ...], sql: str, output: str, target: str | None) -> None:
    """Answer SQL over recordings, with DuckDB.

    The first query of a recording judges every connection by the rules of today and keeps the
    result in a folder of yours ($XDG_CACHE_HOME/tracetw); the next ones only read that. Times are
    UTC. SQL may only ask: no other file is read, none is written but with --to.

    \b
    Views:
      closes      one row for each connection: decoded, with verdict, form, closed_by, ...
      timewait    TIME_WAIT events, if recorded         drops     segments refused, if recorded
      retransmits retransmissions, if recorded          counters  the kernel's own, every 10 s
      sysctls     teardown settings over time

    \b
    Examples:
      tracetw query rec "SELECT verdict, count(*) AS n FROM closes GROUP BY 1 ORDER BY 2 DESC"
      tracetw query rec "DESCRIBE closes"
      tracetw query rec -o parquet --to bad.parquet "SELECT * FROM closes WHERE abnormal"
      tracetw query rec -o csv "SELECT remote_addr, count(*) FROM closes WHERE abnormal GROUP BY 1"
    """
    if target is None and (sys.stdout is None or (output == "parquet" and sys.stdout.isatty())):
        raise BadInput("standard output is no place for it", "give --to FILE")
    from tracetw.query.run import query  # noqa: PLC0415 (loads NumPy)

    if target is not None:
        from tracetw.query.target import replaced  # noqa: PLC0415

        with replaced(target) as out:
            query(paths, sql, output, lambda: out, _say)
    else:
        query(paths, sql, output, lambda: sys.stdout.buffer, _say)
        sys.stdout.buffer.flush()


def _say(line: str) -> None:
    """To stderr, which may be gone."""
    with suppress(OSError):
        print(f"tracetw: {line}", file=sys.stderr, flush=True)
