# SPDX-License-Identifier: Apache-2.0
"""Plain text of the taxonomy and the handbook as Markdown: code and links."""

from __future__ import annotations

import re

from tracetw.text import hanging
from tracetw.verdict.handbook import GUIDES

_WIDTH = 100

_DONE = re.compile(r"(`[^`]*`|\[[^\]]*\]\([^)]*\))")
_WORD = re.compile(
    r"(?P<code>"
    r"/proc/[\w/]+|net(?:\.\w+)+"
    r"|\w+\([\w, ]*\)"  # a call
    r"|(?:\w+\.)*\w*_\w+"  # a name of the kernel or of C
    r"|\bE(?!STAB\b)[A-Z]{4,}\b"  # an errno
    r")|(?<![\w-])(?P<target>[a-z0-9]+(?:-[a-z0-9]+)+)(?![\w-])"
)


def link(name: str, folder: str = "") -> str:
    """To the page of a verdict or an event, from a page beside it, or from where ``folder`` is theirs."""
    return f"[`{name}`]({folder}{name}.md)"


def marked(text: str, here: str = "", *, folder: str = "") -> str:
    """``text`` with its identifiers as code and its verdicts as links, but not to ``here``."""

    def replace(match: re.Match[str]) -> str:
        if match["code"]:
            return f"`{match['code']}`"
        name = match["target"]
        return link(name, folder) if name in GUIDES and name != here else match[0]

    parts = _DONE.split(text)
    return "".join(part if at % 2 else _WORD.sub(replace, part) for at, part in enumerate(parts))


def paragraph(text: str) -> str:
    """Lines of Markdown."""
    return item(text, "")


def item(text: str, lead: str = "- ") -> str:
    """A line that begins with ``lead``, and what follows it."""
    return hanging(lead, text, _WIDTH)
