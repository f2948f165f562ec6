# SPDX-License-Identifier: Apache-2.0
"""The browser of these tests."""

from __future__ import annotations

import os

import pytest

from tests.browser.devtools import find_chromium


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the program; where it is not installed the tests are skipped, but not in CI."""
    found = find_chromium()
    if found is None:
        assert "CI" not in os.environ, "chromium is not installed"
        pytest.skip("chromium is not installed")
    return found
