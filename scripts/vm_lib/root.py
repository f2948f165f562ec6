# SPDX-License-Identifier: Apache-2.0
"""The file system of a guest: the host's, or a small one of another release with its own BCC."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scripts.vm_lib.apt import Archive
from scripts.vm_lib.errors import Missing

__all__ = ["Root", "host_root", "release_root"]


@dataclass(frozen=True, slots=True)
class Root:
    """``path`` of its top; ``venv`` that takes the place of the checkout's, None for the host's."""

    path: Path
    venv: Path | None = None


def host_root() -> Root:
    """The host's own: its programs, its BCC, the checkout's own virtual environment."""
    return Root(Path("/"))


def release_root(release: str, archive: Callable[[str], Archive], *, newest: bool) -> Root:
    """One of another release."""
    raise Missing(f"a root of {release} cannot be made yet")
