# SPDX-License-Identifier: Apache-2.0
"""Counters and settings over time: a sample is written as what changed since the one before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from tracetw.host.clock import Clock
from tracetw.recording.facts import ListenerEnd, Sample
from tracetw.recording.header import Header, listening
from tracetw.recording.schema import MOST_VALUES, SampleDocument, count_values


class SegmentState:
    """What is true in one segment, from its header on."""

    def __init__(self, header: Header) -> None:
        self._counters = {**header.counters}
        self._sysctls = {**header.sysctls}
        self._names = {**header.netns_names}
        self._values = count_values(self._counters) + count_values(self._sysctls)
        self._listeners = header.listeners
        self._first = True

    def after(self, document: SampleDocument) -> Sample | None:
        """The sample that a document makes; None when too many values would be true at once."""
        self._counters = self._changed(self._counters, document.counters, document.gone)
        self._sysctls = self._changed(self._sysctls, document.sysctls, document.gone)
        if document.netns_names or document.gone:
            self._names = {**self._names, **document.netns_names}
            for inode in document.gone:
                self._names.pop(inode, None)
        if document.listeners is not None:
            self._listeners = listening(document.listeners)
        if self._values > MOST_VALUES or len(self._names) > MOST_VALUES:
            return None
        first, self._first = self._first, False
        changed = frozenset((*document.counters, *document.sysctls))
        return Sample(
            moment=document.moment,
            time_ns=document.time_ns,
            clock=Clock(*document.clock),
            counters=self._counters,
            sysctls=self._sysctls,
            netns_names=self._names,
            stats=document.stats,
            unfinished=document.unfinished,
            changed=None if first else changed,
            listeners=self._listeners,
            ended=tuple(ListenerEnd(*msgspec.structs.astuple(one)) for one in document.ended),
        )

    def _changed(
        self, known: dict[int, Any], changes: Mapping[int, Any], gone: list[int]
    ) -> dict[int, Any]:
        """A new dictionary only where there is a change: readers hold on to their samples."""
        if not changes and not gone:
            return known
        now = dict(known)
        for inode, values in changes.items():
            self._values += len(values) - len(now.get(inode, ()))
            now[inode] = values
        for inode in gone:
            self._values -= len(now.pop(inode, ()))
        self._values += len(now) - len(known)
        return now
