# SPDX-License-Identifier: Apache-2.0
"""``tracetw doctor``: what can be seen here, what each setting means, and which look wrong."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from tracetw.cli import complete
from tracetw.cli.needs import need
from tracetw.cli.options import output_option
from tracetw.cli.pager import pager_option, show
from tracetw.errors import CannotTrace, Failed, shortage
from tracetw.text import visible, visible_lines

if TYPE_CHECKING:
    from tracetw.doctor.audit import Audit
    from tracetw.kernel.capability import Capability

_PRESENT = {True: "yes", False: "NO", None: "unknown"}
_FOUND = 4


@click.command(
    "doctor", short_help="Show what this kernel lets us see, and what its settings mean."
)
@click.option(
    "--netns",
    metavar="NS",
    multiple=True,
    shell_complete=complete.namespaces,
    help="Settings of this network namespace: name, inode number, path or all; default: this one.",
)
@click.option(
    "--recording",
    metavar="PATH",
    multiple=True,
    type=click.Path(),
    help="Count the verdicts of a recording beside the settings that decide about them.",
)
@click.option("--check", is_flag=True, help="Exit with 4 if there are findings.")
@output_option(
    "Text, everything that is known of each setting, or one JSON object.", "table", "wide", "json"
)
@pager_option
def command(
    netns: tuple[str, ...], recording: tuple[str, ...], check: bool, output: str, pager: bool
) -> int:
    """Show what this kernel lets tracetw see, and what is lost where it does not.

    Then every setting that decides how connections end: its value, the kernel's default and what it
    means here, in seconds, computed as the kernel computes it. Then findings: what is wrong for what
    this host does, with the evidence, the command that would change it, and its price. It changes nothing.

    \b
    Examples:
      sudo tracetw doctor                  a table
      sudo tracetw doctor --netns all      of every container too
      sudo tracetw doctor -o wide          with files, counters, commands and prices
      sudo tracetw doctor -o json          the same for a program; compare hosts with diff
      sudo tracetw doctor --check          exit 4 if something looks wrong
    """
    from tracetw.doctor.audit import audit  # noqa: PLC0415 (loaded when the command runs)
    from tracetw.host import netns as namespaces  # noqa: PLC0415
    from tracetw.kernel.btf import Btf, BtfError  # noqa: PLC0415
    from tracetw.kernel.capability import survey  # noqa: PLC0415
    from tracetw.kernel.load.probe import ask  # noqa: PLC0415

    wanted = {namespaces.resolve(text) for text in netns} or {namespaces.current()}
    recorded = _recorded(recording)
    try:
        btf = Btf.read()
        capabilities = survey(btf, ask(btf))
    except (OSError, BtfError) as error:
        if isinstance(error, OSError) and shortage(error) is not None:
            raise
        raise CannotTrace(
            f"this kernel does not describe itself: {error}",
            "boot one with CONFIG_DEBUG_INFO_BTF (every distribution's since about 2020)",
        ) from error
    found = audit(wanted, nf_tables=btf.has("nft_table"))
    if output == "json":
        from tracetw.doctor.document import lines  # noqa: PLC0415

        print(lines(_document(capabilities, found, recorded)))
    else:
        show(_text(capabilities, found, recorded, wide=output == "wide") + "\n", pager=pager)
    if not check:
        return 0
    from tracetw.sink.human import amount  # noqa: PLC0415

    if found.unseen:
        raise Failed(
            f"{amount(len(found.unseen), 'network namespace')} could not be looked at",
            "run it as root, or see above why",
        )
    return _FOUND if found.wrong else 0


def _recorded(paths: tuple[str, ...]) -> dict[str, int]:
    """Connections by verdict."""
    if not paths:
        return {}
    from tracetw.cli.progress import progress  # noqa: PLC0415 (loads NumPy)
    from tracetw.recording.reader import open_recordings  # noqa: PLC0415
    from tracetw.report.build import build  # noqa: PLC0415

    with progress() as bar:
        recordings = open_recordings(paths)
        if any(one.compacted for one in recordings):
            bar.pause()
            need("recording", "doctor --recording")
        report = build(recordings, utc=True)
    return {row.verdict: row.total for row in report.verdicts if row.total}


def _document(
    capabilities: Sequence[Capability], found: Audit, recorded: Mapping[str, int]
) -> dict[str, Any]:
    from tracetw.doctor import document  # noqa: PLC0415
    from tracetw.host import netns  # noqa: PLC0415
    from tracetw.host.clock import rfc3339  # noqa: PLC0415
    from tracetw.sink.schema import SCHEMA  # noqa: PLC0415

    return {
        "v": SCHEMA,
        "kind": "doctor",
        "time": rfc3339(time.time_ns()),
        "host": socket.gethostname(),
        "netns": netns.current(),
        "kernel": os.uname().release,
        "hz": found.hz,
        "capabilities": [asdict(capability) for capability in capabilities],
        "settings": document.settings(found),
        "findings": document.findings(found, recorded),
        "recorded": dict(sorted(recorded.items())) if recorded else None,
        "evidence": document.evidence(found),
        "listeners": document.listeners(found),
        "idle": document.idle(found),
        "unseen": document.unseen(found),
    }


def _meaning(capability: Capability) -> str:
    if capability.present:
        return capability.gives
    said = f" (the kernel says: {visible(capability.refusal)})" if capability.refusal else ""
    return capability.lost_without + said


def _text(
    capabilities: Sequence[Capability], found: Audit, recorded: Mapping[str, int], *, wide: bool
) -> str:
    from tabulate import tabulate  # noqa: PLC0415

    from tracetw.doctor.render import audit_text  # noqa: PLC0415

    sees = tabulate(
        [(each.slug, _PRESENT[each.present], _meaning(each)) for each in capabilities],
        headers=("capability", "here", "gives, or what is lost without it"),
        tablefmt="simple",
        maxcolwidths=[None, None, 46],
    )
    told = audit_text(found, recorded, wide=wide)
    return "\n".join([f"kernel {os.uname().release}", "", visible_lines(sees), "", told])
