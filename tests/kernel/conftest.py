# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the tests against the real kernel. They need root: namespaces, nftables and BPF."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from scripts.benchmark.namespace import storm_host
from scripts.benchmark.storm import LIMIT_S, LONGEST_S, Storm
from tests.kernel.kit import again
from tests.kernel.kit import namespace as throw_away
from tests.kernel.kit.namespace import ip
from tracetw.host.netns import Netns
from tracetw.lab.net.host import Host
from tracetw.lab.net.topology import Net
from tracetw.lab.polling import patient


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--at-once``, for guests: one that a failure ends does not live until the tests are over."""
    parser.addoption("--at-once", action="store_true", help="print each failure when it happens")


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """A failure counts unless the kernel kept events from programs; with ``plays_again`` the test sees to that.

    pytest asks for tests of other folders as well.
    """
    here = Path(__file__).parent in item.path.parents
    if not here or os.geteuid() != 0 or item.get_closest_marker("plays_again") is not None:
        return None
    return again.run(item, nextitem)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and item.config.getoption("at_once", default=False):
        terminal = item.config.get_terminal_writer()
        terminal.line(f"\n{report.nodeid} ({report.when}, {report.duration:.0f} s):")
        terminal.line(report.longreprtext)
    return report


@pytest.fixture(scope="session", autouse=True)
def as_root() -> None:
    """Everything here is skipped for others."""
    if os.geteuid() != 0:
        pytest.skip(f"needs root, is uid {os.geteuid()}")


@pytest.fixture(scope="module")
def storm(tmp_path_factory: pytest.TempPathFactory) -> Storm:
    """Makes connections as fast as it can."""
    limit_s = min(round(patient(LIMIT_S)), LONGEST_S)
    return Storm(tmp_path_factory.mktemp("storm"), limit_s)


@pytest.fixture
def ns() -> Iterator[Netns]:
    """A network namespace of the test's own, loopback up."""
    with throw_away.namespace() as made:
        yield made


@pytest.fixture
def namespace() -> Iterator[Host]:
    """Another, with room for a storm."""
    with storm_host() as made:
        yield made


@pytest.fixture
def pair() -> Iterator[Net]:
    """Two hosts with a cable between them."""
    with Net() as made:
        yield made


@pytest.fixture
def silent(ns: Netns) -> tuple[str, int]:
    """An address that is resolved, behind a link whose other end takes no packet up."""
    name = str(ns.name)
    ip("-n", name, "link", "add", "v0", "type", "veth", "peer", "name", "v1")
    for link in ("v0", "v1"):
        ip("-n", name, "link", "set", link, "up")
    ip("-n", name, "addr", "add", "198.51.100.1/24", "dev", "v0")
    ip("-n", name, "neigh", "add", "198.51.100.2", "lladdr", "02:00:00:00:00:02", "dev", "v0")
    return "198.51.100.2", 80


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """All tests of this folder are marked ``kernel``, and time out as late as this machine needs."""
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.kernel)
            marked = item.get_closest_marker("timeout")
            seconds = marked.args[0] if marked else float(config.getini("timeout"))
            item.add_marker(pytest.mark.timeout(patient(seconds)), append=False)
