# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests against the real kernel. They need root: namespaces, nftables and BPF."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from tests.kernel.kit.stage import Scenario, Stage
from tests.kernel.kit.tracer import Tracer


@pytest.fixture(scope="session", autouse=True)
def as_root() -> None:
    """Everything here is skipped for others."""
    if os.geteuid() != 0:
        pytest.skip(f"needs root, is uid {os.geteuid()}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """All tests of this folder are marked ``kernel``."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.kernel)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test with an argument ``scenario`` runs for each of its module's ``SCENARIOS``."""
    if "scenario" in metafunc.fixturenames:
        metafunc.parametrize(
            "scenario", list(metafunc.module.SCENARIOS), ids=lambda scenario: scenario.name
        )


@pytest.fixture(scope="module")
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    """The module's selected scenarios, playing under one tracer.

    At the end nothing may have been lost, no counter of the kernel may differ without a reason, and
    no end may have been reported more than once.
    """
    played = [
        cast("Scenario", item.callspec.params["scenario"])
        for item in request.session.items
        if isinstance(item, pytest.Function)
        and item.module is request.module
        and "scenario" in item.fixturenames
    ]
    arguments: tuple[str, ...] = getattr(request.module, "TRACE", ())
    with Tracer(*arguments) as tracer, Stage(tracer, played) as playing:
        yield playing
        summary = tracer.stop()
        unexplained = [
            entry
            for entry in summary["reconciliation"]
            if entry["difference"] and not entry["reason"]
        ]
        assert unexplained == []
        for scenario in played:
            assert playing.surplus(scenario) == [], scenario.name
