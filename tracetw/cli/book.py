# SPDX-License-Identifier: Apache-2.0
"""``tracetw lab book``: the experiments of docs/lab-book.md, played here."""

from __future__ import annotations

from pathlib import Path

import click

from tracetw.cli.needs import need
from tracetw.cli.options import make_folder, pcap_option


@click.command("book")
@click.argument("numbers", metavar="[NUMBER]...", nargs=-1, type=int)
@click.option("-6", "six", is_flag=True, help="With IPv6; the default is IPv4.")
@pcap_option
def book(numbers: tuple[int, ...], six: bool, pcap: Path | None) -> int:
    """Play the experiments NUMBER of the lab book (docs/lab-book.md), or list them without a number.

    Twelve questions about the end of a connection. Says what to watch, plays the runs, prints the
    packets, what tracetw says and what is to be seen, with the numbers of these runs, and explains it.
    Exits 1 if a run was not as the book says.

    \b
    Examples:
      tracetw lab book                            the questions
      tracetw lab book 1                          why four segments, and when three?
      tracetw lab book 9 --pcap /tmp/pcap         and look at it with Wireshark
    """
    from tracetw.lab.book.contents import BOOK  # noqa: PLC0415 (labs load much, other commands not)
    from tracetw.lab.book.play import BookOptions, chosen, run  # noqa: PLC0415
    from tracetw.lab.book.show import contents  # noqa: PLC0415
    from tracetw.lab.play.command import check_means  # noqa: PLC0415

    if not numbers:
        click.echo(contents(BOOK))
        return 0
    wanted = chosen(numbers)
    make_folder("--pcap", pcap)
    check_means()
    need("lab", "lab book")
    return run(BookOptions(wanted, 6 if six else 4, pcap))
