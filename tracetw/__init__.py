# SPDX-License-Identifier: Apache-2.0
"""tracetw explains, live, why every TCP connection on a Linux host ended."""

from __future__ import annotations

__all__ = ["__version__"]

__version__ = "0.1.0"
