# SPDX-License-Identifier: Apache-2.0
"""The facts of several network namespaces, by way of a child that enters them (``inside``)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tracetw.doctor.observed import Facts
from tracetw.host.netns import Netns
from tracetw.isolated import command, environment

_DEADLINE_S, _FOR_EACH_S = 20.0, 2.0


class Looked(NamedTuple):
    """What was found, by inode, and of the others why nothing was. One that is gone is in neither."""

    facts: dict[int, Facts]
    unseen: dict[int, str]


def look(
    namespaces: Sequence[Netns],
    names: Iterable[str],
    counters: Iterable[str],
    *,
    idle_s: float,
    nf_tables: bool,
) -> Looked:
    """Reads the sysctls ``names`` and ``counters`` of each namespace, its sockets, and its firewall rules.

    ``idle_s``: from when on a connection counts as idle. ``nf_tables``: is that part of the kernel? A child
    that takes too long is ended, and what it did not say is in ``unseen``.
    """
    asked = {
        "names": [*names],
        "counters": [*counters],
        "nf_tables": nf_tables,
        "idle_s": idle_s,
        "namespaces": [[each.inode, each.path] for each in namespaces],
    }
    looked = Looked({}, {each.inode: "the child that looks did not answer" for each in namespaces})
    with subprocess.Popen(
        command("tracetw.doctor.inside"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(),
    ) as child:
        try:
            said, _ = child.communicate(
                json.dumps(asked).encode(), _DEADLINE_S + _FOR_EACH_S * len(namespaces)
            )
        except subprocess.TimeoutExpired:
            child.kill()
            said, _ = child.communicate()
    for line in said.splitlines():
        _take(looked, line)
    return looked


def _take(looked: Looked, line: bytes) -> None:
    try:
        answer = json.loads(line)
        if "gone" in answer:
            del looked.unseen[answer["inode"]]
        elif "error" in answer:
            looked.unseen[answer["inode"]] = str(answer["error"])
        else:
            looked.facts[answer["inode"]] = Facts.of(answer["facts"])
            del looked.unseen[answer["inode"]]
    except (ValueError, KeyError, TypeError):
        return  # cut short: it stays unseen
