# SPDX-License-Identifier: Apache-2.0
"""A test counts at once unless it is one of the kernel."""

from __future__ import annotations

import pytest

from tests.kernel.conftest import pytest_runtest_protocol
from tests.kernel.kit.again import watched


def test_a_test_of_another_folder_never_runs_again(request: pytest.FixtureRequest) -> None:
    """Also where the tests of the kernel are collected in the same run: pytest asks their conftest for all."""
    assert pytest_runtest_protocol(request.node, None) is None
    assert watched(request.session) != request.path
