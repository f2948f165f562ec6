# SPDX-License-Identifier: Apache-2.0
"""What a command line names: scenarios, incidents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import TypeVar

from tracetw.errors import BadInput

_T = TypeVar("_T")


def named(
    kind: str,
    known: Mapping[str, _T],
    names: Sequence[str],
    *,
    everything: bool,
    lists: str = "tracetw lab list",
) -> tuple[_T, ...]:
    """Those of these names, each once, or all that are ``known``.

    ``kind`` is what they are, ``lists`` the command that lists them. Raises BadInput for a name that nothing has,
    for no name at all, and for one beside ``everything``.
    """
    if everything and names:
        raise BadInput(
            f"--all plays every {kind}, and {names[0]} is named as well", "give names or --all"
        )
    if not everything and not names:
        raise BadInput(f"no {kind} named", f"give names ({lists}) or --all")
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}?" if near else f"{lists} names them"
            raise BadInput(f"no such {kind}: {name}", hint)
    return tuple(known[name] for name in dict.fromkeys(names or known))
