# SPDX-License-Identifier: Apache-2.0
"""A snapshot as one JSON object: ``tracetw timewait -o json`` (docs/json.md)."""

from __future__ import annotations

import math
import socket
from typing import Any

import numpy as np

from tracetw.host.clock import rfc3339
from tracetw.host.socktable import addresses
from tracetw.text import decoded
from tracetw.timewait.direction import Direction
from tracetw.timewait.groups import BY, COUNTED, SocketGroups, groups
from tracetw.timewait.look import Look
from tracetw.timewait.snapshot import SocketKind, Space, seconds_left
from tracetw.verdict.taxonomy import CLOSED_BY, FIRST_CLOSE, VERDICTS

__all__ = ["KIND", "document"]

KIND = "timewait-snapshot"
"""``kind`` of the object; ``timewait`` are events of a trace."""

_DIRECTION = {Direction.UNKNOWN: None, Direction.IN: "in", Direction.OUT: "out"}


def document(look: Look, schema: int) -> dict[str, Any]:
    """Everything that a look tells; ``schema`` is the version of all JSON objects."""
    snapshot = look.snapshot
    tables: dict[str, list[dict[str, Any]]] = {
        "forecast": [_forecast(look, each) for each in look.forecasts[: look.most]],
        "by_owner": [_owned(look, each) for each in look.owned[: look.most]],
        "stuck": _stuck(look),
    }
    omitted = {
        name: max(len(all_) - look.most, 0)
        for name, all_ in (
            ("forecast", look.forecasts),
            ("by_owner", look.owned),
            ("stuck", look.stuck),
        )
    }
    for by in ("port", "peer", "pair"):
        found = groups(snapshot, by, look.most)
        tables[f"by_{by}"], omitted[f"by_{by}"] = _groups(look, by, found), found.omitted
    return {
        "v": schema,
        "kind": KIND,
        "time": rfc3339(snapshot.time_ns),
        "host": socket.gethostname(),
        "netns": snapshot.host_netns,
        "sockets": _counts(np.bincount(snapshot.kinds, minlength=len(SocketKind))[list(COUNTED)]),
        "carriers": _carriers(look),
        "namespaces": [_space(look, space) for space in snapshot.spaces.values()],
        "unread": [{"netns": netns, "reason": reason} for netns, reason in snapshot.unread.items()],
        **tables,
        "omitted": omitted,
        "notes": [each._asdict() for each in look.notes],
    }


def seconds(value: float | None) -> float | None:
    """Rounded to milliseconds; None for NaN."""
    return None if value is None or math.isnan(value) else round(float(value), 3)


def _counts(counts: Any) -> dict[str, int]:  # noqa: ANN401 (an array or a list)
    return {kind.name.lower(): int(count) for kind, count in zip(COUNTED, counts, strict=True)}


def _named(look: Look, netns: int) -> dict[str, Any]:
    space = look.snapshot.spaces.get(netns)
    return {"netns": netns, "netns_name": None if space is None else space.name}


def _carriers(look: Look) -> dict[str, Any]:
    """How much of TIME_WAIT a recording explains, and as what it ended."""
    carried = look.carried
    waits = int((look.snapshot.kinds == SocketKind.TIME_WAIT).sum())
    if carried is None:
        return {
            "from": None,
            "known": 0,
            "unknown": waits,
            "first_close": {},
            "closed_by": {},
            "verdicts": {},
        }
    rows = carried.rows[carried.record[carried.record >= 0]]
    codes = [verdict.code for verdict in VERDICTS]
    return {
        "from": carried.source,
        "known": len(rows),
        "unknown": waits - len(rows),
        "first_close": _tally(rows["first_close"], FIRST_CLOSE),
        "closed_by": _tally(rows["closed_by"], CLOSED_BY),
        "verdicts": _tally(rows["verdict"], codes),
    }


def _tally(column: Any, names: Any) -> dict[str, int]:  # noqa: ANN401
    values, counts = np.unique(column, return_counts=True)
    return {
        names[value] if value < len(names) else "unknown": count
        for value, count in zip(values.tolist(), counts.tolist(), strict=True)
    }


def _space(look: Look, space: Space) -> dict[str, Any]:
    part = look.snapshot.parts.get(space.netns, slice(0, 0))
    settings = space.settings
    counts = np.bincount(look.snapshot.kinds[part], minlength=len(SocketKind))[list(COUNTED)]
    held, free = look.ports(space.netns)
    return {
        **_named(look, space.netns),
        **_counts(counts),
        "buckets": {
            "used": settings.tw_buckets_used,
            "limit": settings.max_tw_buckets,
            "own_hash_table": settings.own_table,
            "hash_table_entries": settings.table_entries,
        },
        "ports": {
            "low": settings.low,
            "high": settings.high,
            "reserved": sum(last - first + 1 for first, last in settings.reserved),
            "held": held,
            "free_for_connect": free,
        },
        "settings": {
            "tcp_tw_reuse": settings.tw_reuse,
            "tcp_tw_reuse_delay_ms": settings.tw_reuse_delay_ms,
            "tcp_timestamps": settings.timestamps,
            "tcp_fin_timeout": settings.fin_timeout_s,
            "tcp_rfc1337": settings.rfc1337,
        },
    }


def _forecast(look: Look, each: Any) -> dict[str, Any]:  # noqa: ANN401 (a Forecast)
    row = look.snapshot.sockets[each.first : each.first + 1]
    shared = each.way == "bind"
    return {
        **_named(look, each.netns),
        "local": {"addr": addresses(row, "l")[0]},
        "remote": {
            "addr": None if shared else addresses(row, "r")[0],
            "port": None if shared else int(row["rport"][0]),
        },
        "port_chosen_by": each.way,
        "capacity": each.capacity,
        "held": each.held,
        "live": each.live,
        "time_wait": each.time_wait,
        "reusable": each.reusable,
        "free": each.free,
        "rate_per_s": seconds(each.rate_s),
        "rate_window_s": seconds(each.window_s),
        "port_kept_s": seconds(each.hold_s),
        "exhausted_in_s": seconds(each.seconds_left),
    }


def _groups(look: Look, by: str, found: SocketGroups) -> list[dict[str, Any]]:
    rows = look.snapshot.sockets[found.first]
    columns: dict[str, list[Any]] = {}
    if "lport" in BY[by]:
        columns["local"] = [{"port": port} for port in rows["lport"].tolist()]
        columns["listens"] = look.snapshot.listening[found.first].tolist()
        told = look.direction[found.first].tolist()
        columns["direction"] = [_DIRECTION[Direction(each)] for each in told]
    if "l_lo" in BY[by]:
        columns["local"] = [{"addr": each} for each in addresses(rows, "l")]
    if "r_lo" in BY[by]:
        columns["remote"] = [{"addr": each} for each in addresses(rows, "r")]
    return [
        {
            **_named(look, int(netns)),
            **{name: values[at] for name, values in columns.items()},
            **_counts(found.counts[at]),
            "seconds_left": seconds(found.left_s[at]),
        }
        for at, netns in enumerate(rows["netns"].tolist())
    ]


def owner(each: Any) -> dict[str, Any]:  # noqa: ANN401 (an Owner or None)
    """The fields of an owner, with the names that they have elsewhere."""
    if each is None:
        return {"pid": None, "comm": None, "uid": None, "owner_from": None}
    comm = None if each.comm is None else decoded(each.comm)
    return {"pid": each.pid, "comm": comm, "uid": each.uid, "owner_from": each.how}


def _owned(look: Look, each: Any) -> dict[str, Any]:  # noqa: ANN401 (an Owned)
    return {
        **_named(look, each.netns),
        **owner(each.owner),
        **_counts(each.counts),
        "seconds_left": seconds(each.left_s),
    }


def _unsent(look: Look, cookie: int) -> int | None:
    """Payload that was never sent: the FIN behind it is the last of the stream."""
    count = look.snapshot.unsent.get(cookie)
    return None if count is None else max(count - 1, 0)


def _stuck(look: Look) -> list[dict[str, Any]]:
    """Every socket but those in TIME_WAIT, one by one, at most as many as groups."""
    which = look.stuck[: look.most]
    rows, kind = look.snapshot.sockets[which], look.snapshot.kinds[which]
    left = seconds_left(look.snapshot.sockets, which)
    return [
        {
            **_named(look, int(row["netns"])),
            "state": SocketKind(what).name.removesuffix("_ORPHAN").removesuffix("_OWNED"),
            "orphan": what != SocketKind.FIN_WAIT2_OWNED,
            "local": {"addr": local, "port": int(row["lport"])},
            "remote": {"addr": remote, "port": int(row["rport"])},
            **owner(look.owners.of_inode(int(row["inode"]))),
            "seconds_left": seconds(until),
            "bytes_unacked": max(int(row["wqueue"]) - 1, 0)
            if what >= SocketKind.FIN_WAIT1_ORPHAN
            else 0,
            "bytes_unsent": _unsent(look, int(row["cookie"]))
            if what >= SocketKind.FIN_WAIT1_ORPHAN
            else 0,
        }
        for row, what, until, local, remote in zip(
            rows,
            kind.tolist(),
            left.tolist(),
            addresses(rows, "l"),
            addresses(rows, "r"),
            strict=True,
        )
    ]
