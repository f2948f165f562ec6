# SPDX-License-Identifier: Apache-2.0
"""The start of a program in scripts/: with the packages of this checkout's ``.venv``."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from typing import NoReturn

_VENV = Path(__file__).resolve().parents[2] / ".venv"


def start(program: str, module: str, needs: str = "") -> NoReturn:
    """Run ``main`` of a module under scripts/ and exit with what it returns.

    Args:
        program: the path of the program, run anew by the ``.venv`` if that is there.
        module: its dotted name.
        needs: the extra that the error names where its imports fail: exit status 3.
    """
    if _VENV.joinpath("bin", "python").exists() and Path(sys.prefix) != _VENV:
        python = str(_VENV / "bin" / "python")
        os.execv(python, [python, "-I", program, *sys.argv[1:]])  # noqa: S606 - no shell is meant
    try:
        main = importlib.import_module(module).main
    except ImportError as error:
        setup = f"sudo scripts/setup {needs}".rstrip()
        sys.stderr.write(f"{Path(program).name}: {error}; set this checkout up first: {setup}\n")
        sys.exit(3)
    sys.exit(main())
