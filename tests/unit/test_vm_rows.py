# SPDX-License-Identifier: Apache-2.0
"""The rows of vagrant/boxes.yaml, and what each kernel was found to show."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.guests.distribution import parse as parse_distribution
from scripts.guests.errors import BadInput
from scripts.guests.rows import Row, chosen, distributions, rows
from scripts.guests.rows import parse as parse_rows
from scripts.guests.survey import complaints, document
from tracetw.kernel.btf import Btf
from tracetw.kernel.capability import survey
from tracetw.kernel.load.probe import ask

ROOT = Path(__file__).parents[2]
KERNELS = ROOT / "tests" / "data" / "kernels"
ROW = """
defaults: {tests: "tests/kernel -k 'a or b'", timeout: 60, capabilities: [one]}
rows:
  some: {reason: why, kernel: bookworm, root: host, ci: "tests/kernel -k a"}
"""


def test_the_rows_are_well_formed_and_have_reasons() -> None:
    found = rows()
    assert len({row.name for row in found}) == len(found)
    assert {"host", "debian-11", "debian-12", "debian-13", "unstable"} <= {r.name for r in found}
    assert all(len(row.reason) > 10 for row in found)
    # A root of another release than the kernel's says why.
    for row in found:
        base = row.kernel.removesuffix("-backports")
        assert row.root == base or row.root_reason, row.name
    assert sum(bool(row.ci) and row.virtual for row in found) >= 2


def test_every_selection_of_a_row_exists() -> None:
    for row in rows():
        paths = [word for word in row.tests if word.startswith("tests/")]
        assert paths, row.name
        assert all(ROOT.joinpath(path.partition("::")[0]).exists() for path in paths), row.name


def test_defaults_fill_a_row() -> None:
    (row,) = parse_rows(ROW, "here")
    assert row == Row(
        "some",
        "why",
        "bookworm",
        "host",
        ci=("tests/kernel", "-k", "a"),
        tests=("tests/kernel", "-k", "a or b"),
        timeout=60,
        capabilities=frozenset({"one"}),
    )
    (row,) = parse_rows(ROW.replace("ci:", "capabilities: [two], ci:"), "here")
    assert row.capabilities == {"one", "two"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rows: {some: {", "is no YAML"),
        ("- a", "has no rows"),
        (ROW.replace("reason: why, ", ""), "row some: reason is missing"),
        (ROW.replace('"tests/kernel -k a"', "1"), "row some: ci is 1, not a str"),
        (ROW.replace("root:", "rott:"), "row some: rott is no field"),
        ("rows: {some: 3}", "row some: 3 has no fields"),
    ],
)
def test_a_broken_file_is_explained(text: str, words: str) -> None:
    with pytest.raises(BadInput, match=re.escape(words)):
        parse_rows(text, "here")


UBUNTU = {"label": "Ubuntu", "mirror": "http://m", "keyring": "k", "kernel": "linux"}


def test_every_row_is_of_a_distribution_that_is_described() -> None:
    known = distributions()
    assert {row.distribution for row in rows()} == set(known)
    # Of one the whole keyring is trusted; it has the keyrings of the others.
    assert [name for name, each in known.items() if not each.key] == ["debian"]
    assert all(each.keyring_package and each.keyring_suite for each in known.values() if each.key)
    assert known["ubuntu"].variable == "TRACETW_UBUNTU_MIRROR"


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        (3, "distribution u: 3 has no fields"),
        ({**UBUNTU, "kye": "x"}, "distribution u: kye is no field"),
        ({**UBUNTU, "label": 1}, "distribution u: label is 1, not words"),
        ({**UBUNTU, "suites": [1]}, "distribution u: suites is [1], not words"),
        ({"label": "Ubuntu"}, "distribution u: kernel is missing"),
    ],
)
def test_a_broken_distribution_is_explained(fields: object, words: str) -> None:
    assert parse_distribution("u", UBUNTU, "here").suites == ("{}",)
    with pytest.raises(BadInput, match=re.escape(words)):
        parse_distribution("u", fields, "here")


def test_an_unknown_row_names_the_known_ones() -> None:
    with pytest.raises(BadInput, match="there is no row debian-1; rows are host, debian-11"):
        chosen(["debian-1"])
    assert chosen([]) == rows()


def test_what_a_row_must_have_is_compared() -> None:
    (row,) = parse_rows(ROW, "here")
    capabilities = [{"slug": "one", "present": False}, {"slug": "two", "present": True}]
    assert complaints(row, document("some", "6.1", "0.26", capabilities)) == [
        "some must have and has not: one",
        "some has what its capabilities do not list: two",
    ]


def test_kernels_are_generated() -> None:
    script = ROOT / "scripts" / "gen-kernels"
    done = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("row", rows(), ids=lambda row: row.name)
def test_a_row_has_the_capabilities_that_it_lists(row: Row) -> None:
    found = json.loads(KERNELS.joinpath(f"{row.name}.json").read_text())
    assert found["row"] == row.name
    assert row.capabilities
    assert [line for line in complaints(row, found) if "must have" in line] == []


def test_every_capability_was_asked_for_under_every_kernel() -> None:
    """What stands in for another is spoken of by some kernels only."""
    if not Path("/sys/kernel/btf/vmlinux").exists():
        pytest.skip("this kernel has no BTF")
    documents = [json.loads(path.read_text()) for path in KERNELS.glob("*.json")]
    assert {each["row"] for each in documents} == {row.name for row in rows()}
    asked = {each["slug"] for found in documents for each in found["capabilities"]}
    btf = Btf.read()
    missing = {capability.slug for capability in survey(btf, ask(btf))} - asked
    assert not missing, "run sudo scripts/vm survey, then scripts/gen-kernels"


@pytest.mark.skipif(os.geteuid() != 0, reason="without root these tests are skipped")
def test_a_guest_prints_a_failure_before_the_tests_are_over(tmp_path: Path) -> None:
    """--at-once (tests/kernel/conftest.py): what comes next may end the guest, and all is lost."""
    text = "import os\ndef test_a(): assert 1 == 2, 'why'\ndef test_b(): os._exit(9)\n"
    tmp_path.joinpath("test_it.py").write_text(text)
    shutil.copy(ROOT / "tests" / "kernel" / "conftest.py", tmp_path)
    settings = ROOT.joinpath("pyproject.toml").read_text()
    settings = settings.replace('pythonpath = ["."]', f"pythonpath = ['{ROOT}']")
    tmp_path.joinpath("pyproject.toml").write_text(settings)
    command = [sys.executable, "-I", "-m", "pytest", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*command, "--at-once", str(tmp_path)],
        check=False,
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 9
    assert "test_it.py::test_a (call" in done.stdout
    assert "AssertionError: why" in done.stdout
