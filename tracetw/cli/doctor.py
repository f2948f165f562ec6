# SPDX-License-Identifier: Apache-2.0
"""``tracetw doctor``: what can be seen here, and which settings look wrong."""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from tracetw.errors import CannotTrace

if TYPE_CHECKING:
    from tracetw.host.sysctl import Concern
    from tracetw.kernel.capability import Capability

__all__ = ["command"]

_PRESENT = {True: "yes", False: "NO", None: "unknown"}


@click.command(
    "doctor", short_help="Show what this kernel lets us see, and settings that look wrong."
)
@click.option(
    "-o",
    "--output",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="Text, or one JSON object.",
)
def command(output: str) -> None:
    """Show what this kernel lets tracetw see, and what is lost where it does not.

    Then the settings of the kernel that decide how connections end, if they look wrong for this
    host, each with the reason.

    \b
    Examples:
      sudo tracetw doctor           a table
      sudo tracetw doctor -o json   the same for a program
    """
    from tracetw.host import sysctl  # noqa: PLC0415 (loaded when the command runs)
    from tracetw.kernel.btf import Btf, BtfError  # noqa: PLC0415
    from tracetw.kernel.capability import survey  # noqa: PLC0415
    from tracetw.kernel.load.probe import ask  # noqa: PLC0415

    try:
        btf = Btf.read()
        capabilities = survey(btf, ask(btf))
    except (OSError, BtfError) as error:
        raise CannotTrace(
            f"this kernel does not describe itself: {error}",
            "boot one with CONFIG_DEBUG_INFO_BTF (every distribution's since about 2020)",
        ) from error
    concerns = sysctl.concerns(sysctl.read())
    if output == "json":
        print(json.dumps(_document(capabilities, concerns), ensure_ascii=False))
    else:
        print(_text(capabilities, concerns))


def _document(capabilities: Sequence[Capability], concerns: Sequence[Concern]) -> dict[str, Any]:
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
        "capabilities": [asdict(capability) for capability in capabilities],
        "sysctls": [asdict(concern) for concern in concerns],
    }


def _meaning(capability: Capability) -> str:
    if capability.present:
        return capability.gives
    said = f" (the kernel says: {capability.refusal})" if capability.refusal else ""
    return capability.lost_without + said


def _text(capabilities: Sequence[Capability], concerns: Sequence[Concern]) -> str:
    from tabulate import tabulate  # noqa: PLC0415

    sees = tabulate(
        [(each.slug, _PRESENT[each.present], _meaning(each)) for each in capabilities],
        headers=("capability", "here", "gives, or what is lost without it"),
        tablefmt="simple",
        maxcolwidths=[None, None, 46],
    )
    lines = [f"kernel {os.uname().release}", "", sees, ""]
    if not concerns:
        return "\n".join([*lines, "teardown settings: none looks wrong"])
    settings = tabulate(
        [(each.name, each.value, f"{each.reason}; {each.advice}") for each in concerns],
        headers=("setting", "value", "reason and what to do"),
        tablefmt="simple",
        disable_numparse=True,
        maxcolwidths=[None, None, 36],
    )
    return "\n".join([*lines, settings])
