# SPDX-License-Identifier: Apache-2.0
"""``tracetw lab incident``: incidents played and recorded, and what the report says of them."""

from __future__ import annotations

from pathlib import Path

import click

from tracetw.cli import complete
from tracetw.cli.needs import need
from tracetw.cli.options import make_folder, output_option
from tracetw.errors import BadInput

_AT_ONCE = 4


@click.command("incident")
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete.incidents)
@click.option("--all", "everything", is_flag=True, help="Every incident.")
@click.option(
    "-j", "--jobs", type=click.IntRange(1), default=_AT_ONCE, show_default=True,
    help="So many at once.",
)  # fmt: skip
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Leave the recordings there, with the truth and the page.",
)
@output_option("Text, or JSON lines.", "table", "json")
def incident(
    names: tuple[str, ...], everything: bool, jobs: int, keep: Path | None, output: str
) -> int:
    """Play the incidents named NAME (or --all), record them, and judge what the report says.

    Each plays on hosts (network namespaces) of its own, among good traffic, and is recorded by
    tracetw record: where both ends are recorded, by two recorders, each with a host name and a clock
    of its own. The load counts what became of its connections and writes it to truth.json; the report
    must name the cause, the second and the reach, and nothing else. Exit 1 if one of them failed.

    \b
    Examples:
      tracetw lab list --incidents                what there is
      tracetw lab incident killed                 a server dies of SIGKILL
      tracetw lab incident --all --keep /tmp/lab  all, and recordings to practise with
    """
    from tracetw.lab.incidents import run as lab  # noqa: PLC0415 (labs load much, other commands not)
    from tracetw.lab.play.command import check_means  # noqa: PLC0415

    incidents = lab.chosen(names, everything=everything)
    if keep is not None:
        for each in incidents:
            if (keep / each.name).exists():
                raise BadInput(f"--keep {keep}: there is {each.name} already", "give a new folder")
        make_folder("--keep", keep)
    check_means()
    need("recording", "lab incident")
    return lab.run(incidents, keep, jobs, output)
