# SPDX-License-Identifier: Apache-2.0
"""vagrant/Vagrantfile as Vagrant reads it, for every provider and topology; machines.json; the box's small parts."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections import Counter
from ipaddress import ip_interface
from pathlib import Path

import pytest

from scripts.guests.rows import rows
from tracetw.errors import BadInput
from tracetw.lab import catalogue
from tracetw.lab.expect.match import EVERYTHING
from tracetw.lab.vagrant.catalogue import BY_NAME, SCENARIOS
from tracetw.lab.vagrant.command import chosen
from tracetw.lab.vagrant.site import Site

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "vagrant"
MACHINES = json.loads((FOLDER / "machines.json").read_text(encoding="utf-8"))["topologies"]
PROVIDERS = {
    "libvirt": {"VAGRANT_DEFAULT_PROVIDER": "libvirt", "TRACETW_EMULATE": "0"},
    "emulated": {"VAGRANT_DEFAULT_PROVIDER": "libvirt", "TRACETW_EMULATE": "1"},
    "virtualbox": {"VAGRANT_DEFAULT_PROVIDER": "virtualbox", "TRACETW_EMULATE": "0"},
}


@pytest.fixture(scope="module", autouse=True)
def vagrant() -> None:
    if shutil.which("vagrant") is None and not os.environ.get("CI"):
        pytest.skip("Vagrant is not installed (scripts/setup vagrantfile)")


def validate(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """``vagrant validate`` with folders of its own, and a VirtualBox that says its version and nothing else."""
    stub = folder / "bin" / "VBoxManage"
    stub.parent.mkdir()
    stub.write_text("#!/bin/sh\necho 7.0.20r163906\n", encoding="utf-8")
    stub.chmod(0o755)
    environment = {
        "PATH": f"{stub.parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "VAGRANT_HOME": str(folder / "home"),
        "VAGRANT_CWD": str(FOLDER),
        # Of Vagrant's own: not below the long names of pytest's folders, for the sockets of libvirt.
        "VAGRANT_DOTFILE_PATH": str(folder / "d"),
        "VAGRANT_CHECKPOINT_DISABLE": "1",
        **variables,
    }
    return subprocess.run(
        ["vagrant", "validate"], env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a short name."""
    return tmp_path_factory.mktemp("v")


@pytest.mark.parametrize("topology", MACHINES)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_vagrant_accepts_the_file(provider: str, topology: str, short: Path) -> None:
    done = validate(short, TRACETW_TOPOLOGY=topology, **PROVIDERS[provider])
    assert done.returncode == 0, done.stdout + done.stderr
    assert "validated successfully" in done.stdout


def test_a_topology_that_is_none_is_refused_in_one_line(short: Path) -> None:
    done = validate(short, TRACETW_TOPOLOGY="ring", **PROVIDERS["libvirt"])
    assert done.returncode != 0
    assert "TRACETW_TOPOLOGY=ring: give direct or" in done.stdout + done.stderr


def test_cables_have_two_ends_in_one_network() -> None:
    ends = Counter(
        cable for all_ in MACHINES.values() for m in all_.values() for cable in m["cables"]
    )
    assert set(ends.values()) == {2}
    for cable in ends:
        networks = {
            ip_interface(m["cables"][cable]).network
            for all_ in MACHINES.values()
            for m in all_.values()
            if cable in m["cables"]
        }
        assert len(networks) == 1, cable


def test_addresses_names_and_letters_are_each_ones_own() -> None:
    addresses = [
        a for all_ in MACHINES.values() for m in all_.values() for a in m["cables"].values()
    ]
    assert len(addresses) == len(set(addresses))
    names = [name for all_ in MACHINES.values() for name in all_]
    assert len(names) == len(set(names))
    for all_ in MACHINES.values():
        assert {"a", "b"} <= {m["letter"] for m in all_.values()}
        assert len({m["letter"] for m in all_.values()}) == len(all_)


def test_a_machine_that_names_its_box_names_a_row() -> None:
    known = {row.name for row in rows() if row.virtual}
    assert {m["box"] for all_ in MACHINES.values() for m in all_.values() if "box" in m} <= known


def test_machines_are_where_the_scenarios_want_them() -> None:
    for scenario in SCENARIOS:
        letters = {plan.letter for plan in Site(scenario.topology).plans}
        assert {scenario.capture, *scenario.cut, *scenario.others, *scenario.sysctls} <= letters, (
            scenario.name
        )
        # What is cut off cannot say what passed.
        assert scenario.capture not in scenario.cut, scenario.name
        assert scenario.on(EVERYTHING).verdicts(), scenario.name


def test_names_are_those_of_one_catalogue() -> None:
    assert not BY_NAME.keys() & catalogue.BY_NAME.keys()
    assert len(BY_NAME) == len(SCENARIOS)


def test_names_are_chosen_from_both() -> None:
    names = ["power-cut-keepalive", "four-way-close", "power-cut-keepalive"]
    assert [each.name for each in chosen(names, everything=False)] == names[:2]
    with pytest.raises(BadInput, match="no such scenario: power-cut-keepaliv"):
        chosen(["power-cut-keepaliv"], everything=False)
    with pytest.raises(BadInput, match="no scenario named"):
        chosen([], everything=False)


def test_the_key_is_the_one_that_everybody_knows() -> None:
    text = (FOLDER / "well-known.pub").read_text(encoding="ascii")
    assert re.fullmatch(r"ssh-rsa [\w+/=]+ vagrant insecure public key\n", text)


def test_a_checkout_with_too_long_a_name_is_told_before_libvirt_fails(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 60)
    deep.mkdir()
    done = validate(deep, **PROVIDERS["emulated"])
    assert done.returncode != 0
    assert "is too long for the sockets of libvirt" in done.stdout + done.stderr
