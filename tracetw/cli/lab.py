# SPDX-License-Identifier: Apache-2.0
"""``tracetw lab``: every way in which a connection ends, reproduced here and explained."""

from __future__ import annotations

import json
from pathlib import Path

import click
from click.core import ParameterSource

from tracetw.cli import complete
from tracetw.cli.book import book
from tracetw.cli.incident import incident
from tracetw.cli.needs import need
from tracetw.cli.options import make_folder, output_option, pcap_option
from tracetw.cli.packetdrill import packetdrill
from tracetw.errors import BadInput

__all__ = ["command"]

_USAGE = 2
_OUTPUT = output_option("Text, or JSON lines.", "table", "json")

# What "lab run" has for namespaces only, by its name in click.
_IN_NAMESPACES = {
    "six": "-6",
    "repeat": "--repeat",
    "jobs": "--jobs",
    "pcap": "--pcap",
    "keep": "--keep",
}
_ON = click.option(
    "--on",
    "where",
    type=click.Choice(["here", "vagrant"]),
    default="here",
    show_default=True,
    help="In namespaces here, or between machines of Vagrant.",
)


@click.group(
    "lab",
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
    short_help="Reproduce how connections end, here, and check what is said of them.",
)
@click.pass_context
def command(context: click.Context) -> int | None:
    """Reproduce how connections end, on this kernel, and see how tracetw explains them.

    Each scenario builds two hosts (network namespaces) of its own, plays, is traced, and is held
    against what it claims: the line of each end, the packets on the wire as scapy reads them, and
    the kernel's counters. Nothing outside these namespaces is touched, but for a moment's lower
    tcp_max_orphans (docs/labs.md).
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        return _USAGE
    return None


command.add_command(incident)
command.add_command(packetdrill)
command.add_command(book)


@command.command("list")
@click.option("--incidents", is_flag=True, help="What lab incident plays, instead of scenarios.")
@_ON
@_OUTPUT
def list_(incidents: bool, where: str, output: str) -> None:
    """List the scenarios: name, seconds, IP versions, verdicts, and what each one claims.

    With --on vagrant, those that only machines can show.
    """
    if incidents:
        if where == "vagrant":
            raise BadInput(
                "--incidents are played in namespaces", "leave --incidents or --on vagrant out"
            )
        from tracetw.lab.incidents.catalogue import INCIDENTS  # noqa: PLC0415 (as below)
        from tracetw.lab.incidents.run import listing as incident_listing  # noqa: PLC0415

        if output == "json":
            for each in INCIDENTS:
                print(json.dumps(each.to_json()))
        else:
            print(incident_listing(INCIDENTS))
        return
    from tracetw.lab import catalogue  # noqa: PLC0415 (labs load much, other commands not)
    from tracetw.lab.play.render import listing, scenario_json  # noqa: PLC0415
    from tracetw.lab.vagrant import catalogue as machines  # noqa: PLC0415 (labs load much)

    scenarios = machines.SCENARIOS if where == "vagrant" else catalogue.SCENARIOS
    if output == "json":
        for scenario in scenarios:
            print(json.dumps(scenario_json(scenario)))
    else:
        print(listing(scenarios))


@command.command("run")
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete.scenarios)
@click.option("--all", "everything", is_flag=True, help="Every scenario.")
@click.option("-4", "four", is_flag=True, help="With IPv4 only.")
@click.option("-6", "six", is_flag=True, help="With IPv6 only.")
@click.option("--repeat", type=click.IntRange(1), default=1, metavar="N", help="N times.")
@click.option(
    "-j", "--jobs", type=click.IntRange(1), default=8, show_default=True, help="So many at once."
)
@pcap_option
@click.option("--keep", is_flag=True, help="Leave the namespaces: ip netns list, ip netns del.")
@_ON
@_OUTPUT
@click.pass_context
def run(
    context: click.Context,
    names: tuple[str, ...],
    everything: bool,
    four: bool,
    six: bool,
    repeat: int,
    jobs: int,
    pcap: Path | None,
    keep: bool,
    where: str,
    output: str,
) -> int:
    """Play the scenarios named NAME (or --all); exit 1 if one of them failed.

    Prints, for each, the packets beside the states of both ends (A connects, B listens), then what
    was expected and what was seen. Ctrl-C undoes everything.

    On machines (docs/vagrant.md) each end is traced on its own host, and both recordings are brought
    here and joined in one report. Power cuts and reboots can be played there only.

    \b
    Examples:
      tracetw lab run four-way-close              how a close should look
      tracetw lab run --all -4                    everything with IPv4
      tracetw lab run fin-lost-once --repeat 50   is it always so?
      tracetw lab run linger-0 --pcap /tmp/pcap   and look at it with Wireshark
      tracetw lab run power-cut-keepalive --on vagrant
    """
    from tracetw.lab.play import command as laboratory  # noqa: PLC0415 (labs load much, other commands not)

    if where == "vagrant":
        for name, option in _IN_NAMESPACES.items():
            if context.get_parameter_source(name) is not ParameterSource.DEFAULT:
                raise BadInput(f"{option} is for namespaces", f"leave {option} or --on vagrant out")
        return _between_machines(names, everything=everything, output=output)
    scenarios = laboratory.chosen(names, everything=everything)
    make_folder("--pcap", pcap)
    families = frozenset({4} if four and not six else {6} if six and not four else {4, 6})
    options = laboratory.LabOptions(scenarios, families, repeat, jobs, pcap, keep, output)
    laboratory.check_means()
    need("lab", "lab run")
    return laboratory.run(options)


def _between_machines(names: tuple[str, ...], *, everything: bool, output: str) -> int:
    from tracetw.lab.vagrant import command as machines  # noqa: PLC0415 (labs load much, other commands not)

    scenarios = machines.chosen(names, everything=everything)
    need("lab", "lab run")
    return machines.run(scenarios, output)
