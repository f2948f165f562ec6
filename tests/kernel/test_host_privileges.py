# SPDX-License-Identifier: Apache-2.0
"""What a process gives up, and cannot have again."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tracetw.host.privileges import ENTER_NAMESPACES, READ_PROCESSES
from tracetw.lab.polling import patient

_DEADLINE_S = 10.0


_DROP = """
import json, os, sys
from tracetw.host import holders, privileges
other = int(sys.argv[1])
before = privileges.held()
after = privileges.drop(*json.loads(sys.argv[2]))
readable = True
try:
    os.readlink(f"/proc/{other}/fd/0"), os.stat(f"/proc/{other}/ns/net")
except OSError:
    readable = False
print(json.dumps([sorted(before), sorted(after), sorted(privileges.held()), readable,
                  open("/proc/self/status").read(), os.getuid()]))
"""


@pytest.mark.parametrize(
    ("arguments", "kept"),
    [
        ([], READ_PROCESSES),
        ([sorted(READ_PROCESSES | ENTER_NAMESPACES)], READ_PROCESSES | ENTER_NAMESPACES),
        ([[]], set()),
    ],
)
def test_drop_keeps_what_was_asked_and_nothing_else(
    arguments: list[list[str]], kept: set[str]
) -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, user=65534, group=65534) as other:
        done = subprocess.run(
            [sys.executable, "-c", _DROP, str(other.pid), json.dumps(arguments)],
            check=True,
            capture_output=True,
            text=True,
            timeout=patient(30),
        )
        other.communicate(timeout=patient(_DEADLINE_S))
    before, after, held, readable, status, uid = json.loads(done.stdout)
    assert set(after) == set(held) == kept
    assert kept < set(before)
    assert uid == 0
    assert readable == bool(kept)
    lines = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert lines["NoNewPrivs"] == "1"
    assert lines["CapEff"] == lines["CapPrm"] == lines["CapBnd"]
    assert int(lines["CapInh"], 16) == int(lines["CapAmb"], 16) == 0
