# SPDX-License-Identifier: Apache-2.0
"""Modules of the kernel that a test needs."""

from __future__ import annotations

import subprocess

import pytest

from tracetw.lab.polling import patient


def need(*modules: str) -> None:
    """Skips the test, with the reason of modprobe(8), where the kernel lacks one."""
    try:
        done = subprocess.run(
            ["modprobe", "--all", *modules],
            check=False,
            capture_output=True,
            text=True,
            timeout=patient(30),
        )
    except FileNotFoundError:
        pytest.skip("no modprobe(8) here")
    if done.returncode:
        pytest.skip(f"modprobe {' '.join(modules)}: {done.stderr.strip()}")
