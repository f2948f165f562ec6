# SPDX-License-Identifier: Apache-2.0
"""``tracetw report``: what happened, when it began and who was first."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tracetw.cli.needs import need
from tracetw.cli.options import numeric_option, recorded_filter_options, window_options
from tracetw.cli.pager import pager_option, show
from tracetw.cli.progress import progress
from tracetw.cli.resolve import resolve_option, resolver_for, say_what_has_no_name
from tracetw.errors import Failed
from tracetw.messages import say
from tracetw.text import json_line

_INCIDENTS = 4


@click.command("report", short_help="Say what happened in recordings of one or many hosts.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path())
@recorded_filter_options
@window_options
@click.option("--json", "as_json", is_flag=True, help="One JSON object for programs.")
@click.option(
    "--html", metavar="FILE", type=click.Path(), help="Also as a single page that needs no network."
)
@click.option("--utc", is_flag=True, help="Times in UTC instead of local time.")
@click.option(
    "--check",
    is_flag=True,
    help="For scripts: exit with 4 if there are incidents, 0 if there are none.",
)
@resolve_option
@numeric_option
@pager_option
def command(
    paths: tuple[str, ...],
    conditions: dict[str, Any],
    since: str | None,
    until: str | None,
    as_json: bool,
    html: str | None,
    utc: bool,
    check: bool,
    resolve: bool,
    pager: bool,
) -> int:
    """Say what happened: each incident with its beginning, its cause and whom it reached.

    PATH is a folder or a file that tracetw record wrote. Give recordings of several hosts and the
    connections between them are joined: what one end did not do although the other says so was
    done by something between them.

    \b
    Examples:
      tracetw report /var/lib/tracetw                 text
      tracetw report web-1 db-1 --html incident.html  two hosts, with a page to send around
      tracetw report rec --since 12:00 --until 12:30 --port 5432
      tracetw report rec --json | jq '.incidents[].sentence'
      tracetw report rec --since 1h --check >/dev/null || echo 'look at the last hour'
    """
    from tracetw.recording.reader import open_recordings  # noqa: PLC0415 (loads NumPy)
    from tracetw.replay.conditions import recorded_filter  # noqa: PLC0415
    from tracetw.replay.window import Window  # noqa: PLC0415
    from tracetw.report.build import build  # noqa: PLC0415
    from tracetw.report.render.json import document  # noqa: PLC0415

    with progress() as bar:
        recordings = open_recordings(paths)
        wanted = recorded_filter(conditions, recordings)
        window = Window.of_recordings(since, until, recordings, utc=utc)
        if any(recording.compacted for recording in recordings):
            bar.pause()
            need("recording", "report")
        resolver = resolver_for(resolve, waits=True)
        report = build(recordings, wanted, window, utc=utc or as_json, ask=resolver)
    say_what_has_no_name(resolver)
    if html is not None:
        from tracetw.report.render.html import page  # noqa: PLC0415 (only when asked for)

        _write(html, page(report, utc=utc or as_json))
    if as_json:
        print(json_line(document(report)))
    else:
        from tracetw.report.render.text import report_text  # noqa: PLC0415 (loads tabulate)

        show(report_text(report, utc=utc), pager=pager)
    if html is not None:
        say(f"wrote {html}")
    return _INCIDENTS if check and report.incidents else 0


def _write(path: str, text: str) -> None:
    from tracetw.sink.private import write_private  # noqa: PLC0415 (only when asked for)

    try:
        write_private(Path(path), text.encode("utf-8", "replace"))
    except OSError as error:
        raise Failed(
            f"cannot write {path}: {error.strerror}", "give another --html FILE"
        ) from error
