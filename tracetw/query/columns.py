# SPDX-License-Identifier: Apache-2.0
"""Batches as Arrow tables: the columns of the views of connections and of single events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tracetw.event import fields
from tracetw.event.drop_cause import CAUSES, drop_causes
from tracetw.event.fields import State
from tracetw.event.layer import LAYERS
from tracetw.event.names import KernelNames
from tracetw.event.record import F_ADDR, F_EXITING, F_OOM, EventKind
from tracetw.host.cgroup import container, unit
from tracetw.query.arrow import addresses, constant, listed, milliseconds, numbers, texts
from tracetw.query.mptcp import mptcp_columns
from tracetw.query.names import service_names
from tracetw.query.packets import packet_columns, reset_columns
from tracetw.query.times import died_ns, time_columns
from tracetw.recording.reader import Recording
from tracetw.sink.close_document import OWNERS
from tracetw.sink.event_document import event_name
from tracetw.sink.measures import NUMBERS, Unit
from tracetw.stream.batch import Closes
from tracetw.stream.known import Known
from tracetw.text import decoded
from tracetw.verdict.evidence import evidence_names
from tracetw.verdict.findings import TEXTS
from tracetw.verdict.hints import hint_names
from tracetw.verdict.missing import missing_names
from tracetw.verdict.taxonomy import VERDICTS

if TYPE_CHECKING:
    import pyarrow as pa

_KINDS = {kind.value: kind.name.lower() for kind in EventKind}
_SIGNAL_BITS = 127
_ARRAYS: Mapping[Unit, Callable[[NDArray[Any]], Any]] = {
    Unit.KNOWN: lambda values: values,
    Unit.COUNT: lambda values: numbers(values, values >= 0),
    Unit.TIME: milliseconds,
    Unit.FLAG: lambda values: numbers(values > 0, values >= 0),
}
_SERVER = fields.ROLES.index("server")


def closes_table(recording: Recording, part: Closes, known: Known) -> pa.Table:
    """One row for each connection; who listens is what is ``known`` when they are judged."""
    import pyarrow as pa  # noqa: PLC0415 (optional)

    rows, findings = part.rows, part.findings
    names = recording.header.names
    addressed = (rows["flags"] & F_ADDR) != 0
    abnormal = np.array([verdict.abnormal for verdict in VERDICTS])[findings.verdict]
    exiting = (rows["flags"] & F_EXITING) != 0
    text = {name: listed(texts, getattr(findings, name)) for name, texts in TEXTS.items()}
    columns: dict[str, Any] = {
        **_common(recording, rows, part.at, addressed, known),
        "uid": rows["uid"],
        "user": texts(rows["uid"], recording.user),
        "layer": texts(rows["layer"], LAYERS.get),
        **mptcp_columns(rows),
        "first_close": text["first_close"],
        "form": text["form"],
        "verdict": text["verdict"],
        "abnormal": abnormal,
        "closed_by": text["closed_by"],
        "exit_code": numbers(rows["exit_code"] >> 8 & 255, exiting & ~_signalled(rows)),
        "exit_signal": texts(
            np.where(exiting, rows["exit_code"], 0), lambda code: fields.exit_status(code)[1]
        ),
        "time_wait": text["time_wait"],
        "states": texts(rows["path"], lambda path: " ".join(fields.state_names(path, names))),
        **time_columns(rows),
        **_measures(part, names),
        **packet_columns(rows, names),
        **_measures(part, names, "retransmits"),
        **_measures(part, names, "probes"),
        "limit_name": text["limit"],
        **_measures(part, names, "limit"),
        "reset_direction": text["reset_direction"],
        **reset_columns(rows, findings, names),
        "error": texts(findings.error, fields.error_name),
        "hints": texts(findings.hints, lambda mask: " ".join(hint_names(mask)) or None),
        "confidence": text["confidence"],
        "evidence": texts(findings.evidence, lambda mask: " ".join(evidence_names(mask))),
        "missing": texts(findings.missing, lambda mask: " ".join(missing_names(mask)) or None),
        "died_ns": _died(rows, part.at, exiting),
        "oom": (rows["flags"] & F_OOM) != 0,
    }
    return pa.table(columns)


def _died(rows: NDArray[Any], at: NDArray[np.int64], exiting: NDArray[np.bool_]) -> Any:  # noqa: ANN401
    """Of the connections that a death ended: few, as a rule."""
    died = at.copy()
    died[exiting] = died_ns(rows[exiting], at[exiting])
    return numbers(died, exiting)


def _measures(part: Closes, names: KernelNames, within: str = "") -> dict[str, Any]:
    """The columns of the measures that are within an object of the JSON, or within none."""
    return {
        each.column: _ARRAYS[each.unit](each.values(part, names))
        for each in NUMBERS
        if each.within == within
    }


def events_table(recording: Recording, rows: NDArray[Any], known: Known) -> pa.Table:
    """One row for each single event."""
    import pyarrow as pa  # noqa: PLC0415 (optional)

    at = rows["at"].astype(np.int64)
    age = at - rows["born"].astype(np.int64)
    codes = rows["kind"].astype(np.uint16) << 8 | rows["code"]
    names = recording.header.names
    addressed = (rows["flags"] & F_ADDR) != 0
    columns = {
        **_common(recording, rows, recording.clock.to_wall_ns(at), addressed, known),
        "kind": texts(rows["kind"], _KINDS.get),
        "event": texts(codes, lambda code: event_name(code >> 8, code & 255)),
        "age_ms": milliseconds(np.where((rows["born"] > 0) & (age >= 0), age, -1)),
        "state": texts(rows["from"], names.tcp_states.get),
        "to_state": texts(rows["to"], names.tcp_states.get),
        "reason": texts(
            rows["reason"], lambda reason: names.drop_reasons.get(reason) if reason else None
        ),
        "backoff": rows["backoff"],
        "rto_ms": numbers(fields.jiffies_to_ms(rows["rto"], names), rows["rto"] != 0),
        "queued": numbers(rows["queued"], rows["from"] == State.LISTEN),
        "backlog": numbers(rows["backlog"], rows["from"] == State.LISTEN),
        "cause": texts(drop_causes(rows), lambda cause: CAUSES[cause]),
    }
    return pa.table(columns)


def _common(
    recording: Recording,
    rows: NDArray[Any],
    at: NDArray[np.int64],
    addressed: NDArray[np.bool_],
    known: Known,
) -> dict[str, Any]:
    import pyarrow as pa  # noqa: PLC0415

    role = fields.role(rows)
    return {
        "time": pa.array(at // 1000, pa.timestamp("us")),
        "time_ns": at,
        "host": constant(recording.header.host, len(rows)),
        "netns": rows["netns"],
        "family": numbers(fields.families(rows), addressed),
        "local_addr": addresses(rows, "laddr"),
        "local_port": numbers(rows["lport"], addressed),
        "remote_addr": addresses(rows, "raddr"),
        "remote_port": numbers(rows["rport"], addressed),
        "role": listed(fields.ROLES, role),
        "service_port": numbers(
            np.where(role == _SERVER, rows["lport"], rows["rport"]), addressed & (role > 0)
        ),
        "service": service_names(known, rows),
        "local_name": addresses(rows, "laddr", known.names.get),
        "remote_name": addresses(rows, "raddr", known.names.get),
        "pid": numbers(rows["pid"], rows["pid"] != 0),
        "comm": texts(rows["comm"], lambda comm: decoded(comm) or None),
        "cgroup": texts(rows["cgroup"], recording.cgroup_path),
        "container": texts(rows["cgroup"], lambda id_: container(recording.cgroup_path(id_))),
        "unit": texts(rows["cgroup"], lambda id_: unit(recording.cgroup_path(id_))),
        "owner_from": texts(rows["owner_from"], OWNERS.get),
    }


def _signalled(rows: NDArray[Any]) -> NDArray[np.bool_]:
    signalled: NDArray[np.bool_] = (rows["exit_code"] & _SIGNAL_BITS) != 0
    return signalled
