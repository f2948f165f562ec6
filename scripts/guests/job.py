# SPDX-License-Identifier: Apache-2.0
"""The job of a guest, as shell variables that its scripts read."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

_END = "# end of job\n"


@dataclass(frozen=True, slots=True)
class Job:
    """One command.

    Attributes:
        name: what the guest calls itself.
        checkout: absolute path, the same in the guest as on the host; the command starts there.
        argv: the command.
        env: variables for it.
        venv: the checkout's .venv is another one than the host's.
        results: path in the guest of the folder that the host keeps, "" for none.
    """

    name: str
    checkout: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    venv: bool = False
    results: str = ""

    def script(self) -> bytes:
        """For stage1.sh and stage2.sh."""
        variables = {
            "name": self.name,
            "checkout": self.checkout,
            "venv": "yes" if self.venv else "",
            "results": self.results,
            "command": f"exec {shlex.join(self.argv)}",
        }
        lines = [f"{name}={shlex.quote(value)}\n" for name, value in variables.items()]
        lines += [f"export {name}={shlex.quote(value)}\n" for name, value in self.env.items()]
        return "".join([*lines, _END]).encode()
