# SPDX-License-Identifier: Apache-2.0
"""In a guest of ``scripts/vm``: the kernel has what its row in vagrant/boxes.yaml lists."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from scripts.guests.hypervisor import ROW
from scripts.guests.rows import ROOT, chosen
from scripts.guests.survey import complaints, document


def test_this_kernel_has_what_its_row_lists() -> None:
    """So a kernel that lost a capability fails, and so does a change that no longer sees one."""
    if ROW not in os.environ:
        pytest.skip("no guest of scripts/vm")
    (row,) = chosen([os.environ[ROW]])
    command = [sys.executable, "-I", "-m", "tracetw", "doctor", "-o", "json"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    found = document(row.name, "", "", json.loads(done.stdout)["capabilities"])
    assert [line for line in complaints(row, found) if "must have" in line] == []
