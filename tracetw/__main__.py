# SPDX-License-Identifier: Apache-2.0
"""``python -m tracetw`` is the ``tracetw`` command."""

from __future__ import annotations

from tracetw.cli import main

if __name__ == "__main__":
    main()
