# SPDX-License-Identifier: Apache-2.0
"""``tracetw lab packetdrill``: the user's own scripts, explained."""

from __future__ import annotations

from pathlib import Path

import click

from tracetw.cli.options import output_option
from tracetw.errors import BadInput


@click.command("packetdrill")
@click.argument("scripts", metavar="SCRIPT...", nargs=-1, type=click.Path(path_type=Path))
@click.option(
    "--packetdrill",
    "program",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="The program; default: packetdrill on PATH.",
)
@output_option("Text, or JSON lines.", "table", "json")
def packetdrill(scripts: tuple[Path, ...], program: Path | None, output: str) -> int:
    """Play packetdrill scripts under the tracer; exit 1 if packetdrill failed one of them.

    packetdrill and its scripts are yours: neither comes with tracetw. Each SCRIPT plays in a network
    namespace of its own. Prints what packetdrill said, and then every connection that ended there
    and every retransmission, drop and event of TIME_WAIT, in the order of time.
    """
    from tracetw.lab.play import packetdrill as lab  # noqa: PLC0415 (labs load much, other commands not)

    if not scripts:
        raise BadInput("no script named", "give the files of one script or more")
    for script in scripts:
        if not script.is_file():
            raise BadInput(f"no such script: {script}", "give a file")
    return lab.play(lab.find(program), scripts, output)
