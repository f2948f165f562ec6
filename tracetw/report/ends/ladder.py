# SPDX-License-Identifier: Apache-2.0
"""The segments of one connection, as far as its record proves them: a packet ladder.

From the JSON object of a close. What a state was entered by is certain (RFC 9293, figure 5); bytes
are sums, and repetitions are shown once with their number.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tracetw.sink.human import size

__all__ = ["steps"]

Step = dict[str, Any]

_OPEN = {
    "client": (("local", "SYN", "syn"), ("remote", "SYN ACK", "syn"), ("local", "ACK", "ack")),
    "server": (("remote", "SYN", "syn"), ("local", "SYN ACK", "syn"), ("remote", "ACK", "ack")),
}
# What led to a state, by the state before it ("" any).
_ENTERED: dict[tuple[str, str], tuple[tuple[str, str, str], ...]] = {
    ("", "FIN_WAIT1"): (("local", "FIN", "fin"),),
    ("", "FIN_WAIT2"): (("remote", "ACK", "ack"),),
    ("", "CLOSING"): (("remote", "FIN", "fin"), ("local", "ACK", "ack")),
    ("", "CLOSE_WAIT"): (("remote", "FIN", "fin"), ("local", "ACK", "ack")),
    ("", "LAST_ACK"): (("local", "FIN", "fin"),),
    ("CLOSING", "TIME_WAIT"): (("remote", "ACK", "ack"),),
    ("FIN_WAIT1", "TIME_WAIT"): (("remote", "FIN ACK", "fin"), ("local", "ACK", "ack")),
    ("", "TIME_WAIT"): (("remote", "FIN", "fin"), ("local", "ACK", "ack")),
}


def steps(close: Mapping[str, Any]) -> tuple[Step, ...]:
    """Steps in order.

    Each has ``at_ms`` (None unknown), ``from`` (``local``, ``remote``, or None for what happens on
    this side alone), ``label``, ``kind`` and ``state`` (entered then, or None).
    """
    return tuple(_steps(close))


def _steps(close: Mapping[str, Any]) -> Iterator[Step]:
    states = close["states"]
    before = ""
    for place, entry in enumerate(states):
        state, at = entry["state"], entry["at_ms"]
        final = place == len(states) - 1
        if final and state in {"CLOSE", "TIME_WAIT"}:
            yield from _repeated(close)
        if place == 0 and state not in {"SYN_SENT", "SYN_RECV", "ESTABLISHED"}:
            yield _step(at, None, "seen from here on", "note", state)
        elif state == "SYN_SENT":
            yield _step(at, "local", "SYN", "syn", state)
        elif state == "SYN_RECV":
            yield _step(at, "remote", "SYN", "syn", state)
        elif state == "ESTABLISHED":
            yield from _established(close, before, at)
        elif state == "CLOSE":
            yield from _closed(close, before, at)
        else:
            yield from _entered(before, state, at)
        before = state
    if before == "TIME_WAIT" or (before and before != "CLOSE"):
        yield _step(None, None, f"{close['verdict']}", "end", None)


def _step(at: float | None, side: str | None, label: str, kind: str, state: str | None) -> Step:
    return {"at_ms": at, "from": side, "label": label, "kind": kind, "state": state}


def _established(close: Mapping[str, Any], before: str, at: float | None) -> Iterator[Step]:
    role = close["role"]
    known = _OPEN.get(role, ())
    if not known:
        yield _step(at, None, "established", "note", "ESTABLISHED")
    else:
        todo = known[1:] if before else known
        for number, (side, label, kind) in enumerate(todo):
            last = number == len(todo) - 1
            yield _step(at if last else None, side, label, kind, "ESTABLISHED" if last else None)
    for side, name in (("local", "bytes_sent"), ("remote", "bytes_received")):
        if close[name]:
            yield _step(None, side, f"{size(close[name])}B of data", "data", None)


def _entered(before: str, state: str, at: float | None) -> Iterator[Step]:
    known = _ENTERED.get((before, state)) or _ENTERED.get(("", state))
    if not known:
        yield _step(at, None, state, "note", state)
        return
    for number, (side, label, kind) in enumerate(known):
        yield _step(at, side, label, kind, None if number else state)


def _repeated(close: Mapping[str, Any]) -> Iterator[Step]:
    """What was sent again and again."""
    again, fin = close["retransmits"]["total"], close["retransmits"]["fin"]
    probes = close["probes"]["total"]
    timed_out = close["form"] == "timeout"
    kind = "lost" if timed_out else "again"
    if again:
        what = "FIN" if fin and fin == again else "retransmission"
        yield _step(None, "local", f"{again} x {what}", kind, None)
    if probes:
        yield _step(None, "local", f"{probes} x {close['probes']['what'] or ''} probe", kind, None)


def _closed(close: Mapping[str, Any], before: str, at: float | None) -> Iterator[Step]:
    reset = close["reset"]
    if reset is not None:
        side = "local" if reset["direction"] == "sent" else "remote"
        label = "RST" if reset["ack_flag"] is None else f"RST{' ACK' if reset['ack_flag'] else ''}"
        if reset["reason_from"] == "kernel":
            label += f" ({reset['reason']})"
        yield _step(at, side, label, "rst", "CLOSE")
    elif close["form"] != "timeout" and before == "LAST_ACK":
        yield _step(at, "remote", "ACK", "ack", "CLOSE")
    limit = close["limit"]
    text = str(close["verdict"])
    if limit and limit["elapsed_ms"] is not None:
        text += f" after {limit['elapsed_ms'] / 1000:.1f} s"
    yield _step(at, None, text, "end", None if reset is not None else "CLOSE")
