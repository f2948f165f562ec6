# SPDX-License-Identifier: Apache-2.0
"""``--resolve``: names of addresses from the system's resolver, which are never asked for without it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from tracetw.cli.options import Command
from tracetw.messages import say

if TYPE_CHECKING:
    from tracetw.host.resolver import Resolver


def resolve_option(function: Command) -> Command:
    """The command receives ``resolve``."""
    return click.option(
        "--resolve",
        is_flag=True,
        help="Also ask the system's resolver for names of addresses: it may ask the network.",
    )(function)


def resolver_for(resolve: bool, *, waits: bool) -> Resolver | None:
    """What asks, if it may; ``waits``: a few seconds for answers, because what is printed is of the past."""
    if not resolve:
        return None
    from tracetw.host.resolver import PATIENCE_S, Resolver  # noqa: PLC0415 (when it is wanted)

    return Resolver(PATIENCE_S if waits else 0.0)


def say_what_has_no_name(resolver: Resolver | None) -> None:
    """What was not asked for, and what was not answered."""
    if resolver is not None and (told := resolver.told()) is not None:
        say(told)
