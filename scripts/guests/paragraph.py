# SPDX-License-Identifier: Apache-2.0
"""Reading a paragraph of a package list (deb822(5))."""

from __future__ import annotations

import re
from collections.abc import Mapping

_FIELD = re.compile(r"^([A-Za-z][\w-]*):[ \t]*(.*(?:\n[ \t].*)*)", re.MULTILINE)


def fields(text: str) -> dict[str, str]:
    """The fields of the first paragraph."""
    first = text.strip().split("\n\n", 1)[0]
    return {name: value.strip() for name, value in _FIELD.findall(first)}


def dependencies(paragraph: Mapping[str, str]) -> list[str]:
    """Names of the packages it depends on; of alternatives, each."""
    listed = ",".join(paragraph.get(name, "") for name in ("Pre-Depends", "Depends"))
    names = [
        re.split(r"[ (:\[<]", each.strip(), maxsplit=1)[0] for each in re.split(r"[,|]", listed)
    ]
    return [name for name in names if name]
