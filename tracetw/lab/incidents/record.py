# SPDX-License-Identifier: Apache-2.0
"""Play one incident, record it, write down the truth."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tracetw.lab.incidents.incident import PlayedIncident
from tracetw.lab.incidents.stage import RecordCommand, Stage
from tracetw.lab.net.topology import Net

__all__ = ["TRUTH", "record"]

TRUTH = "truth.json"
MILLISECOND = 1_000_000


def record(
    incident: PlayedIncident, folder: Path, watched: Callable[[Net], Any] = nullcontext
) -> dict[str, Any]:
    """Into ``folder``: a recording for each recorded host, in a folder of its name, and the truth.

    The hosts are in the context that ``watched`` makes, so that somebody can wake who waits there.
    Raises NotPlayed when the incident did not come about.
    """
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    with ExitStack() as stack:
        net = stack.enter_context(Net(nat=incident.nat))
        stack.enter_context(watched(net))
        for letter, values in incident.sysctls.items():
            net.hosts[letter].sysctl(**values)
        stage = Stage(incident, net)
        recorders = [
            stack.enter_context(
                RecordCommand(
                    folder / name, name, net.hosts[letter], incident.ahead_ms.get(name, 0)
                )
            )
            for name, letter in incident.hosts.items()
        ]
        for recorder in recorders:
            recorder.ready()
        begin_ns = time.time_ns()
        stage.play()
        end_ns = time.time_ns()
        for recorder in recorders:
            recorder.end()
        truth = {
            "name": incident.name,
            "claim": incident.claim,
            "begin_ns": begin_ns,
            "end_ns": end_ns,
            "connections": stage.connections,
            "hosts": {
                name: {
                    "letter": letter,
                    "netns": net.hosts[letter].netns,
                    "netns_name": net.hosts[letter].name,
                    "addresses": dict(net.hosts[letter].addresses),
                    "ahead_ns": incident.ahead_ms.get(name, 0) * MILLISECOND,
                }
                for name, letter in incident.hosts.items()
            },
            "incidents": [asdict(each) for each in stage.truth],
        }
    (folder / TRUTH).write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")
    return truth
