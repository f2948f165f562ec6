# SPDX-License-Identifier: Apache-2.0
"""``tracetw report``: what happened, when it began and who was first."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from tracetw.cli.needs import need
from tracetw.cli.options import recorded_filter_options
from tracetw.errors import Failed

__all__ = ["command"]


@click.command("report", short_help="Say what happened in recordings of one or many hosts.")
@click.argument("paths", metavar="PATH...", nargs=-1, required=True)
@recorded_filter_options
@click.option(
    "--since",
    metavar="TIME",
    help="From then on: 12:04, 2026-01-02T12:04:07Z, or 30m before the end.",
)
@click.option("--until", metavar="TIME", help="Until then.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object for programs.")
@click.option("--html", metavar="FILE", help="Also as a single page that needs no network.")
@click.option("--utc", is_flag=True, help="Times in UTC instead of local time.")
def command(
    paths: tuple[str, ...],
    conditions: dict[str, Any],
    since: str | None,
    until: str | None,
    as_json: bool,
    html: str | None,
    utc: bool,
) -> None:
    """Say what happened: causes in sentences, who was first, and what was normal before.

    PATH is a folder or a file that tracetw record wrote. Give recordings of several hosts and the
    connections between them are joined: what one end did not do although the other says so was
    done by something between them.

    \b
    Examples:
      tracetw report /var/lib/tracetw                 text
      tracetw report web-1 db-1 --html incident.html  two hosts, with a page to send around
      tracetw report rec --since 12:00 --until 12:30 --port 5432
      tracetw report rec --json | jq '.causes[].sentence'
    """
    from tracetw.recording.reader import open_recordings  # noqa: PLC0415 (loads NumPy)
    from tracetw.replay.conditions import recorded_filter  # noqa: PLC0415
    from tracetw.replay.window import Window  # noqa: PLC0415
    from tracetw.report.build import build  # noqa: PLC0415
    from tracetw.report.render.json import document  # noqa: PLC0415

    recordings = open_recordings(paths)
    wanted = recorded_filter(conditions, recordings)
    ends = [one.header.ended_ns or one.header.started_ns for one in recordings]
    window = Window.parse(since, until, max(ends))
    if any(recording.compacted for recording in recordings):
        need("recording", "report")
    report = build(recordings, wanted, window, utc=utc or as_json)
    if html is not None:
        from tracetw.report.render.html import page  # noqa: PLC0415 (only when asked for)

        _write(html, page(report, utc=utc or as_json))
    if as_json:
        print(json.dumps(document(report), ensure_ascii=False))
    else:
        from tracetw.report.render.text import report_text  # noqa: PLC0415 (loads tabulate)

        sys.stdout.write(report_text(report, utc=utc))
    if html is not None:
        print(f"tracetw: wrote {html}", file=sys.stderr)


def _write(path: str, text: str) -> None:
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise Failed(
            f"cannot write {path}: {error.strerror}", "give another --html FILE"
        ) from error
