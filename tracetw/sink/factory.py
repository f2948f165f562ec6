# SPDX-License-Identifier: Apache-2.0
"""The sink that ``-o`` names."""

from __future__ import annotations

from typing import BinaryIO

from tracetw.stream.batch import Context, MakeSink, Sink


def lines_to(out: BinaryIO, output: str, *, color: bool, utc: bool) -> MakeSink:
    """Makes the sink that writes lines.

    Args:
        out: where to.
        output: ``table``, ``wide`` or ``json``.
        color: use ANSI colours.
        utc: times of the table in UTC; local time else. JSON is always UTC.
    """

    def make(context: Context) -> Sink:
        if output == "json":
            from tracetw.sink.json import JsonSink  # noqa: PLC0415  only one of them is needed

            return JsonSink(out, context)
        from tracetw.sink.table import TableSink  # noqa: PLC0415

        return TableSink(out, context, wide=output == "wide", color=color, utc=utc)

    return make
