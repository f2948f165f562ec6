# SPDX-License-Identifier: Apache-2.0
"""What can stand in the way, each one line for the user and an exit code."""

from __future__ import annotations

from typing import ClassVar

from tracetw.errors import BadInput, Failed, UserError

__all__ = ["BadInput", "Failed", "Missing", "Unreachable", "UserError"]


class Missing(UserError):
    """Something that a virtual machine needs is not here and cannot be had (exit code 3)."""

    exit_code: ClassVar[int] = 3


class Unreachable(Missing):
    """The packages of a distribution that is not the host's, at the address that everybody may try (exit code 3)."""
