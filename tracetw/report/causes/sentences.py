# SPDX-License-Identifier: Apache-2.0
"""Causes in sentences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tracetw.report.causes.suspects import Suspect
from tracetw.report.count.keys import address
from tracetw.report.count.scan import Scan
from tracetw.report.model import Cause, Witness
from tracetw.report.render.phrases import Words, addresses, counted, joined, per_minute
from tracetw.sink.human import endpoint, span
from tracetw.text import decoded
from tracetw.verdict.taxonomy import VERDICTS

_SHOWN = 20
_LIST = 200
_SECOND = 1_000_000_000
_MINUTE = 60 * _SECOND


def process_name(comm: bytes, pid: int) -> str:
    """``nginx (pid 812)``, as much of it as is known."""
    return _named(decoded(comm), pid)


def _named(comm: str, pid: int) -> str:
    name = comm or "unknown process"
    return f"{name} (pid {pid})" if pid else name


def port_name(port: int) -> str:
    """The number, or ``others`` for those no longer told apart."""
    return str(port) if port else "others"


def by_name(
    cells: NDArray[Any], names: tuple[str, ...], text: Callable[..., str | None]
) -> dict[str, int]:
    """Counts of cells by the text that stands for some of their fields, most frequent first."""
    sums: dict[str, int] = {}
    columns = [cells[name].tolist() for name in names]
    for *values, count in zip(*columns, cells["count"].tolist(), strict=True):
        name = text(*values)
        if name is not None:
            sums[name] = sums.get(name, 0) + count
    return dict(sorted(sums.items(), key=lambda pair: -pair[1]))


def tell(suspect: Suspect, number: int, scan: Scan, words: Words) -> Cause:
    """A suspect as a cause with its sentence."""
    cells = suspect.cells
    hosts = scan.hosts
    verdicts = by_name(cells, ("verdict",), lambda verdict: VERDICTS[verdict].code)
    peers = by_name(cells, ("peer_hi", "peer_lo"), address)
    ports = by_name(cells, ("port",), port_name)
    first = cells[int(np.argmin(cells["first"]))]
    witness = Witness(
        time_ns=int(first["first"]),
        host=hosts[int(first["source"])],
        comm=decoded(bytes(first["comm"])),
        pid=int(first["pid"]) or None,
    )
    began, ended = suspect.began_ns, suspect.ended_ns
    rate = None
    if began is not None and ended is not None:
        rate = suspect.total * _MINUTE / max(ended - began, _MINUTE)
    before = suspect.before * _MINUTE / suspect.before_ns if suspect.before_ns else None
    who = _who(suspect, peers, ports, hosts)
    return Cause(
        number=number,
        kind=suspect.kind.name,
        sentence=_sentence(suspect, who, verdicts, witness, words, several=len({*hosts}) > 1),
        who=who,
        peers=tuple(peers)[:_LIST],
        peers_count=len(peers),
        verdicts=verdicts,
        total=suspect.total,
        began_ns=began,
        ended_ns=ended,
        silent_since_ns=suspect.silent_since_ns,
        first=witness,
        hosts=by_name(cells, ("source",), lambda source: hosts[source]),
        processes=_top(by_name(cells, ("comm", "pid"), process_name)),
        ports=_top(ports),
        containers=_top(by_name(cells, ("source", "cgroup"), scan.container)),
        before_per_minute=before,
        per_minute=rate,
        advice=VERDICTS[_leading(cells)].advice,
    )


def _top(counts: dict[str, int]) -> dict[str, int]:
    return dict(list(counts.items())[:_SHOWN])


def _leading(cells: NDArray[Any]) -> int:
    """The most frequent verdict."""
    return int(np.argmax(np.bincount(cells["verdict"], weights=cells["count"])))


def _who(suspect: Suspect, peers: dict[str, int], ports: dict[str, int], hosts: list[str]) -> str:
    by = suspect.kind.by
    if by == "host":
        return joined([*by_name(suspect.cells, ("source",), lambda source: hosts[source])])
    return _processes(suspect.cells) if by == "process" else _peers(suspect, peers, ports)


def _processes(cells: NDArray[Any]) -> str:
    """One name with its pid or the number of them, or some names."""
    names = [*by_name(cells, ("comm",), lambda comm: decoded(comm) or "unknown processes")]
    pids = {pid for pid in cells["pid"].tolist() if pid}
    if len(names) > 1 or not pids:
        return joined(names)
    return (
        f"{names[0]} (pid {pids.pop()})"
        if len(pids) == 1
        else f"{names[0]} ({len(pids)} processes)"
    )


def _peers(suspect: Suspect, peers: dict[str, int], ports: dict[str, int]) -> str:
    """One address, with its port if that is the only one; some; or how many in which network."""
    port = next(iter(ports), "")
    if len(peers) == 1:
        alone = len(ports) == 1 and (suspect.kind.by == "service" or suspect.kind.silent)
        return endpoint(next(iter(peers)), int(port) if alone and port.isdigit() else 0)
    return addresses(peers)


def _sentence(
    suspect: Suspect,
    who: str,
    verdicts: dict[str, int],
    witness: Witness,
    words: Words,
    *,
    several: bool,
) -> str:
    kind = suspect.kind
    says = kind.several if suspect.members > 1 and kind.several else kind.says
    process = _named(witness.comm, witness.pid or 0)
    where = f" on {witness.host}" if several else ""
    seen = f"first seen by {process}{where}"
    if suspect.began_ns is None or suspect.ended_ns is None:
        return f"{who} {says} all along: {counted(verdicts)}; {seen}"
    since = suspect.silent_since_ns
    start = words.time(since if since is not None else suspect.began_ns)
    text = f"{who} {says} at {start}: {counted(verdicts)}"
    if since is not None or suspect.ended_ns - suspect.began_ns >= _SECOND:
        text += f" ({words.between(suspect.began_ns, suspect.ended_ns)})"
    text += f", {seen}"
    if witness.time_ns != suspect.began_ns or since is not None:
        text += f" at {words.time(witness.time_ns)}"
    return f"{text}; {_before(suspect)}"


def _before(suspect: Suspect) -> str:
    if suspect.before_ns < _SECOND:
        return "what came before is not in the recording"
    time = span(suspect.before_ns)
    if not suspect.before:
        return f"none in the {time} before"
    return f"{per_minute(suspect.before * _MINUTE / suspect.before_ns)} in the {time} before"
