# SPDX-License-Identifier: Apache-2.0
"""Tests that boot other kernels: only with ``-m vm``, as root. What is missing here fails them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def as_root() -> None:
    """Who asks for these tests by name wants them to run."""
    if os.geteuid() != 0:
        pytest.fail(f"needs root, is uid {os.geteuid()}", pytrace=False)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder are marked ``vm``."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.vm)
