# SPDX-License-Identifier: Apache-2.0
"""What is known of the addresses and the ports of rows, as JSON and as words.

Each different value of a batch is looked up once, and a batch in which nothing is known costs next to nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event import fields
from tracetw.event.fields import Rows
from tracetw.event.record import F_ADDR
from tracetw.host.cgroup import container, unit
from tracetw.sink.coded import Coded, distinct
from tracetw.sink.remembered import Remembered
from tracetw.stream.batch import Context
from tracetw.stream.known import Known, PortListener, served_by
from tracetw.text import json_line, visible

_NULL = b"null"
_IPV4 = 4
_names: Remembered[str, bytes] = Remembered(lambda name: json_line(name).encode())


def _object(one: PortListener) -> bytes:
    value = {"comm": one.comm, "unit": unit(one.cgroup), "container": container(one.cgroup)}
    return json_line(value).encode()


_objects: Remembered[PortListener, bytes] = Remembered(_object)


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
    found = _named(rows, name, families, known)
    if found is None:
        return None
    which, names = found
    texts: NDArray[Any] = np.empty(len(names), object)
    texts[:] = [_NULL if one is None else _names[one] for one in names]
    return Coded(which, texts)


def _named(
    rows: Rows, name: str, families: NDArray[np.uint8], known: Known
) -> tuple[NDArray[np.intp], list[str | None]] | None:
    """The name of each address: an index of each row, and the names; None: of none of them one is known."""
    if known.nameless:
        return None
    packed = fields.ipv4_packed(rows, name)
    asked = np.flatnonzero(known.may_know(packed, families))
    if not len(asked):
        return None
    some, index = _different(rows, name, families, packed, asked)
    texts = fields.address_texts(rows[some], name)
    names = known.of(texts)
    if not names:
        return None
    which = np.zeros(len(rows), np.intp)
    which[asked] = index + 1
    return which, [None, *map(names.get, texts)]


def _different(
    rows: Rows,
    name: str,
    families: NDArray[np.uint8],
    packed: NDArray[np.uint32],
    asked: NDArray[np.intp],
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """``distinct`` of the addresses of the rows ``asked``."""
    if (families[asked] == _IPV4).all():
        some, index = distinct(packed[asked])
        return asked[some], index
    key = np.zeros(len(rows), [("address", "u1", 16), ("family", "<u8")])
    key["address"], key["family"] = rows[name], rows["family"]
    some, index = distinct(key[asked])
    return asked[some], index


def listener_texts(rows: Rows, known: Known) -> Coded | None:
    """Who listens on the server's port of each connection as JSON; None: of none of them that is known."""
    heard = _heard(rows, known)
    if heard is None:
        return None
    which, told = heard
    texts: NDArray[Any] = np.empty(len(told), object)
    texts[:] = [_NULL if one is None else _objects[one] for one in told]
    return Coded(which, texts)


def _heard(rows: Rows, known: Known) -> tuple[NDArray[np.intp], list[PortListener | None]] | None:
    """Who listens on the port of each connection: an index of each row, and the known listeners."""
    if not known.listeners:
        return None
    keys = served_by(rows)
    some, which = distinct(keys)
    told = [known.listeners.get(key) for key in keys[some].tolist()]
    told = [None if one is None or one.comm is None else one for one in told]
    return (which, told) if any(told) else None


def words(rows: Rows, context: Context) -> tuple[list[str], NDArray[np.intp]]:
    """``remote=db1 unit=web.service listener=nginx`` of rows, what matters most first; "" nothing.

    Args:
        rows: closes or events, one at least; of events nobody listens.
        context: what is known, and the paths of control groups.

    Returns the different texts, and for each row the index of its own.
    """
    known, families = context.known, fields.families(rows)
    heard = _heard(rows, known) if "mptcp_flags" in (rows.dtype.names or ()) else None
    groups, group = distinct(rows["cgroup"])
    paths = [context.cgroup_path(one) if one else None for one in rows["cgroup"][groups].tolist()]
    parts = [
        _end_words("remote", rows, families, known),
        None if heard is None else (heard[0], list(map(_listening, heard[1]))),
        (group, [_owner(path) for path in paths]),
        _end_words("local", rows, families, known),
    ]
    told = [part for part in parts if part is not None]
    which = np.empty((len(rows), len(told)), np.int64)
    for at, (index, _) in enumerate(told):
        which[:, at] = index
    some, whole = distinct(which.view(f"V{which.itemsize * len(told)}").ravel())
    texts = [
        " ".join(filter(None, (said[at] for at, (_, said) in zip(row, told, strict=True))))
        for row in which[some].tolist()
    ]
    return texts, whole


def _end_words(
    end: str, rows: Rows, families: NDArray[np.uint8], known: Known
) -> tuple[NDArray[np.intp], list[str]] | None:
    """``remote=db1`` of each row that has the name of this end: an index of each, and the texts."""
    named = _named(rows, f"{end[0]}addr", families, known)
    if named is None:
        return None
    which, names = named
    texts = ["", *("" if one is None else f"{end}={visible(one)}" for one in names)]
    return np.where(rows["flags"] & F_ADDR, which + 1, 0), texts


def _listening(one: PortListener | None) -> str:
    return "" if one is None else f"listener={visible(one.comm or '')}"


def _owner(group: str | None) -> str:
    """The container of the owner or, where it is in none, the unit."""
    inside, service = container(group), unit(group)
    if inside:
        return f"container={visible(inside[:_SHORT])}"
    return f"unit={visible(service)}" if service else ""


_SHORT = 12
"""Digits of a container's id, as docker(1) shows it."""
