# SPDX-License-Identifier: Apache-2.0
"""What is known of the addresses and the ports of rows, as JSON and as words.

Each different value of a batch is looked up once, and a batch in which nothing is known costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event.fields import Rows
from tracetw.host.cgroup import container, unit
from tracetw.sink.remembered import Remembered
from tracetw.stream.known import Heard, Known, served_by
from tracetw.text import json_line, visible

__all__ = ["listener_texts", "name_columns", "words"]

_NULL = b"null"
_names: Remembered[str, bytes] = Remembered(lambda name: json_line(name).encode())


def _object(one: Heard) -> bytes:
    value = {"comm": one.comm, "unit": unit(one.cgroup), "container": container(one.cgroup)}
    return json_line(value).encode()


_objects: Remembered[Heard, bytes] = Remembered(_object)


def name_columns(values: Mapping[str, Any], known: Known) -> dict[str, list[bytes]]:
    """The columns ``lname`` and ``rname`` of the addresses ``laddr`` and ``raddr``, if a name is known."""
    found = {end: _address_names(values[f"{end}addr"], known) for end in "lr"}
    return {f"{end}name": texts for end, texts in found.items() if texts is not None}


def _address_names(texts: Sequence[str], known: Known) -> list[bytes] | None:
    """The name of each address as JSON; None: of none of them a name is known."""
    names = known.of(texts)
    if not names:
        return None
    found = {address: _names[name] for address, name in names.items()}
    return [found.get(address, _NULL) for address in texts]


def listener_texts(rows: Rows, known: Known) -> list[bytes] | None:
    """Who listens on the server's port of each connection as JSON; None: of none of them that is known."""
    heard = _heard(rows, known)
    if heard is None:
        return None
    keys, told = heard
    found = {key: _objects[one] for key, one in told.items()}
    return [found.get(key, _NULL) for key in keys]


def _heard(rows: Rows, known: Known) -> tuple[list[int], dict[int, Heard]] | None:
    """The port of each connection, and the listeners of those ports that have a known one."""
    if not known.listeners:
        return None
    keys: NDArray[np.uint64] = served_by(rows)
    listed = keys.tolist()
    told = {
        key: one
        for key in known.listeners.keys() & {*listed}
        if (one := known.listeners[key]).comm is not None
    }
    return (listed, told) if told else None


def words(
    rows: Rows,
    local: Sequence[str],
    remote: Sequence[str],
    groups: Sequence[str | None],
    known: Known,
) -> list[str]:
    """``remote=db1 unit=web.service listener=nginx`` of each row, what matters most first; "" nothing.

    Args:
        rows: closes or events; of events nobody listens.
        local, remote: their addresses, "" where unknown.
        groups: paths of the control groups of their owners.
        known: what is known.
    """
    names = {address: visible(name) for address, name in known.of({*local, *remote} - {""}).items()}
    heard = _heard(rows, known) if "mptcp_flags" in (rows.dtype.names or ()) else None
    listening: list[Any] = [""] * len(rows)
    if heard is not None:
        texts = {key: _listening(one) for key, one in heard[1].items()}
        listening = [texts.get(key, "") for key in heard[0]]
    owners = {group: _owner(group) for group in {*groups}}
    lines = zip(local, remote, groups, listening, strict=True)
    return [
        " ".join(
            part
            for part in (
                f"remote={names[there]}" if there in names else "",
                listener,
                owners[group],
                f"local={names[here]}" if here in names else "",
            )
            if part
        )
        for here, there, group, listener in lines
    ]


def _listening(one: Heard) -> str:
    return f"listener={visible(one.comm or '')}"


def _owner(group: str | None) -> str:
    """The container of the owner or, where it is in none, the unit."""
    inside, service = container(group), unit(group)
    if inside:
        return f"container={visible(inside[:_SHORT])}"
    return f"unit={visible(service)}" if service else ""


_SHORT = 12
"""Digits of a container's id, as docker(1) shows it."""
