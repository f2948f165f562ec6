# SPDX-License-Identifier: Apache-2.0
"""What is known of the addresses and the ports of rows, as JSON and as words.

Each different value of a batch is looked up once, and a batch in which nothing is known costs next to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event import fields
from tracetw.event.fields import Rows
from tracetw.host.cgroup import container, unit
from tracetw.sink.coded import Coded, distinct
from tracetw.sink.remembered import Remembered
from tracetw.stream.known import Heard, Known, served_by
from tracetw.text import json_line, visible

__all__ = ["listener_texts", "name_columns", "words"]

_NULL = b"null"
_IPV4 = 4
_names: Remembered[str, bytes] = Remembered(lambda name: json_line(name).encode())


def _object(one: Heard) -> bytes:
    value = {"comm": one.comm, "unit": unit(one.cgroup), "container": container(one.cgroup)}
    return json_line(value).encode()


_objects: Remembered[Heard, bytes] = Remembered(_object)


def name_columns(rows: Rows, families: NDArray[np.uint8], known: Known) -> dict[str, Coded]:
    """The columns ``lname`` and ``rname`` of the addresses ``laddr`` and ``raddr``, if a name is known.

    Args:
        rows: one at least.
        families: theirs, of ``fields.families``.
        known: what is known.
    """
    found = {end: _address_names(rows, f"{end}addr", families, known) for end in "lr"}
    return {f"{end}name": column for end, column in found.items() if column is not None}


def _address_names(
    rows: Rows, name: str, families: NDArray[np.uint8], known: Known
) -> Coded | None:
    """The name of each address as JSON; None: of none of them a name is known."""
    if known.nameless:
        return None
    some, which = _different(rows, name, families)
    asked = np.flatnonzero(known.may_know(rows[some], name, families[some]))
    texts = fields.address_texts(rows[some[asked]], name)
    names = known.of(texts)
    if not names:
        return None
    found: NDArray[Any] = np.full(len(some), _NULL, object)
    found[asked] = [_names[names[text]] if text in names else _NULL for text in texts]
    return Coded(which, found)


def _different(
    rows: Rows, name: str, families: NDArray[np.uint8]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """``distinct`` of the addresses."""
    if (families == _IPV4).all():
        return distinct(fields.ipv4_packed(rows, name))
    key = np.zeros(len(rows), [("address", "u1", 16), ("family", "<u8")])
    key["address"], key["family"] = rows[name], rows["family"]
    return distinct(key)


def listener_texts(rows: Rows, known: Known) -> Coded | None:
    """Who listens on the server's port of each connection as JSON; None: of none of them that is known."""
    heard = _heard(rows, known)
    if heard is None:
        return None
    which, told = heard
    texts: NDArray[Any] = np.empty(len(told), object)
    texts[:] = [_NULL if one is None else _objects[one] for one in told]
    return Coded(which, texts)


def _heard(rows: Rows, known: Known) -> tuple[NDArray[np.intp], list[Heard | None]] | None:
    """Who listens on the port of each connection: an index of each row, and the known listeners."""
    if not known.listeners:
        return None
    keys = served_by(rows)
    some, which = distinct(keys)
    told = [known.listeners.get(key) for key in keys[some].tolist()]
    told = [None if one is None or one.comm is None else one for one in told]
    return (which, told) if any(told) else None


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
        texts = ["" if one is None else _listening(one) for one in heard[1]]
        listening = [texts[index] for index in heard[0].tolist()]
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
