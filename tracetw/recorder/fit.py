# SPDX-License-Identifier: Apache-2.0
"""What of a sample has room in one document of a recording.

Anybody may make network namespaces and listen on ports: without a bound they could make documents that no
reader accepts (``JSON_BYTES``), and with them the recording.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from tracetw.host.listening import Listening
from tracetw.recorder.writer import to_json
from tracetw.recording.facts import Sample
from tracetw.recording.schema import JSON_BYTES, MOST_VALUES

_NETNS_BYTES = JSON_BYTES * 5 // 8
_LISTENER_BYTES = JSON_BYTES // 6
"""The rest is for names of the kernel, of hosts and of control groups."""
_FEW = 256
"""Namespaces that fit, whatever their numbers are; no counter or setting takes more than 100 bytes."""


def fitted(sample: Sample) -> tuple[Sample, list[str]]:
    """The sample with what has room, and in words what has none.

    Namespaces with the lowest inodes come first: those of the host and of what started early.
    """
    left_out = []
    found = sorted({*sample.counters, *sample.sysctls, *sample.netns_names})
    kept = found if len(found) <= _FEW else [*_namespaces(sample, found)]
    if len(kept) < len(found):
        left_out.append(
            f"counters and settings of {len(found) - len(kept):,} of {len(found):,} network namespaces"
        )
        sample = replace(
            sample,
            counters={one: sample.counters[one] for one in kept if one in sample.counters},
            sysctls={one: sample.sysctls[one] for one in kept if one in sample.sysctls},
            netns_names={one: sample.netns_names[one] for one in kept if one in sample.netns_names},
        )
    listeners = tuple(_listeners(sample.listeners))
    if len(listeners) < len(sample.listeners):
        total = len(sample.listeners)
        left_out.append(f"{total - len(listeners):,} of {total:,} listeners")
        sample = replace(sample, listeners=listeners)
    return sample, left_out


def _namespaces(sample: Sample, found: Iterable[int]) -> Iterator[int]:
    room, values = _NETNS_BYTES, MOST_VALUES
    for inode in found:
        counters, sysctls = sample.counters.get(inode, {}), sample.sysctls.get(inode, {})
        room -= len(to_json([inode, counters, inode, sysctls, sample.netns_names.get(inode)]))
        values -= len(counters) + len(sysctls) + 2
        if room < 0 or values < 0:
            return
        yield inode


def _listeners(listeners: Iterable[Listening]) -> Iterator[Listening]:
    room = _LISTENER_BYTES
    for one in listeners:
        room -= len(to_json(one._asdict()))
        if room < 0:
            return
        yield one
