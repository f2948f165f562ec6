# SPDX-License-Identifier: Apache-2.0
"""The templates of the JSON sink against a rendering of each row without any cleverness."""

from __future__ import annotations

import io
import json
from datetime import datetime, timezone
from ipaddress import IPv4Address, IPv6Address
from typing import Any

import numpy as np

from tests.unit.sink_rows import CLOCK, CONTEXT, GROUPS, NAMES, varied
from tracetw.event import fields, record
from tracetw.event.fields import State
from tracetw.event.record import Layer
from tracetw.host import cgroup
from tracetw.sink.json import JsonSink
from tracetw.stream.batch import Closes
from tracetw.verdict import hint_text
from tracetw.verdict.evidence import EVIDENCE
from tracetw.verdict.explain import sentences
from tracetw.verdict.findings import UNKNOWN
from tracetw.verdict.hints import HINTS
from tracetw.verdict.taxonomy import (
    CLOSED_BY,
    CONFIDENCE,
    FIRST_CLOSE,
    FORMS,
    LIMITS,
    TIME_WAIT,
    VERDICTS,
)


def ms(ns: int) -> float | None:
    return ns // 1000 / 1000 if ns >= 0 else None


def when(ns: int) -> str | None:
    if not ns:
        return None
    second, rest = divmod(ns + CLOCK.offset_ns, 10**9)
    return f"{datetime.fromtimestamp(second, timezone.utc):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def endpoint(row: Any, letter: str) -> dict[str, Any]:
    if not row["flags"] & record.F_ADDR:
        return {"addr": None, "port": None, "name": None}
    raw = row[f"{letter}addr"].tobytes()
    six = IPv6Address(raw)
    address = IPv4Address(raw[:4]) if row["family"] == 2 else six.ipv4_mapped or six
    return {"addr": str(address), "port": int(row[f"{letter}port"]), "name": None}


def family(row: Any) -> int | None:
    if not row["flags"] & record.F_ADDR:
        return None
    return 4 if row["family"] == 2 or IPv6Address(row["raddr"].tobytes()).ipv4_mapped else 6


def exit_of(row: Any) -> dict[str, Any] | None:
    if not row["flags"] & record.F_EXITING:
        return None
    code, name, core = fields.exit_status(int(row["exit_code"]))
    return {"code": code} if name is None else {"signal": name, "core": core}


def reset(row: Any, direction: int, verdict: str) -> dict[str, Any] | None:
    if not direction:
        return None
    flags = int(row["flags"])
    name = (
        NAMES.reset_reasons.get(int(row["reset_reason"])) if flags & record.F_RST_REASON else None
    )
    inferred = None if verdict == "undetermined" else verdict
    kernel = name not in (None, "NOT_SPECIFIED")
    ack: bool | None = True if flags & record.F_RST_OUT else None
    if direction == 2:
        ack = bool(flags & record.F_RST_ACK) if flags & record.F_RST_ACK_KNOWN else None
    origin = "inferred" if inferred else None
    return {
        "direction": ("sent", "received")[direction - 1],
        "reason": name if kernel else inferred,
        "reason_from": "kernel" if kernel else origin,
        "ack_flag": ack,
        "ttl": int(row["rst_ttl"]) or None if direction == 2 else None,
    }


def refused(row: Any) -> dict[str, Any] | None:
    number, reason = int(row["refused"]), int(row["refused_reason"])
    if not number:
        return None
    names = {0: None, 33: "TCP_RFC7323_PAWS", 77: "drop reason 77"}
    return {"segments": number if number < 255 else None, "reason": names[reason]}


def limit(number: int, value: int, elapsed: int) -> dict[str, Any] | None:
    if not number:
        return None
    return {
        "name": LIMITS[number],
        "value": None if value < 0 else value,
        "elapsed_ms": None if elapsed < 0 else elapsed,
    }


def probes(row: Any) -> dict[str, Any]:
    waiting = row["probing"] or row["write_seq"] != row["snd_una"]
    what = ("window" if waiting else "keepalive") if row["probes_out"] else None
    return {"total": int(row["probes_out"]), "what": what}


def path(row: Any) -> list[int]:
    digits = (int(row["path"]) >> shift & 15 for shift in range(24, -1, -4))
    return [digit for digit in digits if digit]


def states(row: Any) -> list[dict[str, Any]]:
    times = [int(time) for time in row["at"]]
    start = next((time for time in times if time), 0)
    return [
        {"state": NAMES.tcp_states[state], "at_ms": ms(time - start) if time else None}
        for state, time in zip(path(row), times, strict=False)
    ]


def role(flags: int) -> str | None:
    if flags & record.F_CLIENT:
        return "client"
    return "server" if flags & record.F_SERVER else None


def half_closed(row: Any) -> float | None:
    """FIN_WAIT1 or CLOSE_WAIT until the other side's FIN, or the end."""
    steps = list(zip(path(row), (int(time) for time in row["at"]), strict=False))
    for place, (state, began) in enumerate(steps):
        if state in (4, 8):
            ended = next((time for then, time in steps[place + 1 :] if then in (6, 7, 9, 11)), 0)
            return ms(ended - began) if began and ended >= began else None
    return None


def known(value: Any, *, when: bool) -> int | None:
    return int(value) if when else None


def once(row: Any) -> int:
    sent = int(row["bytes_sent"]) - int(row["bytes_retrans"])
    if row["traits"] & record.T_READ and not row["flags"] & record.F_MISSED:
        # In sequence space, in which 32 bits go round.
        ahead = (int(row["snd_nxt"]) - int(row["snd_una"]) + (1 << 31)) % (1 << 32) - (1 << 31)
        fin = row["old_state"] in (4, 5, 9, 11) and row["snd_nxt"] == row["write_seq"]
        most = int(row["bytes_acked"]) + ahead - fin - bool(row["flags"] & record.F_CLIENT)
        sent = min(sent, most)
    return max(sent, 0)


def measures(row: Any) -> dict[str, Any]:
    traits, flags = int(row["traits"]), int(row["flags"])
    quiet, read = bool(traits & record.T_QUIET), bool(traits & record.T_READ)
    whole = read and not flags & record.F_MISSED
    never = record.SINCE_UNKNOWN
    sent = once(row)
    queued = int(row["write_seq"]) - int(row["snd_nxt"])
    unacked = int(row["snd_nxt"]) - int(row["snd_una"])
    fin = row["old_state"] in (4, 5, 9, 11)
    acked = int(row["bytes_acked"])
    acked -= bool(flags & record.F_FIN_ACKED and fin) + bool(flags & record.F_CLIENT)
    if not flags & (record.F_CLIENT | record.F_SERVER):
        acked = min(acked, max(sent, 0) - max(unacked - (fin and not queued), 0))
    past = row["layer"] == Layer.SOCKMAP
    return {
        "idle_ms": known(int(row["quiet"]) * 4, when=quiet and row["quiet"] != never),
        "since_sent_ms": known(
            int(row["since_sent"]) * 4, when=quiet and row["since_sent"] != never
        ),
        "since_received_ms": known(
            int(row["since_received"]) * 4, when=quiet and row["since_received"] != never
        ),
        "bytes_acked": known(max(acked, 0), when=whole and not past),
        "bytes_unsent": known(
            max(queued - (fin and queued > 0), 0),
            when=bool(flags & (record.F_CLOSED | record.F_MISSED)) and not past,
        ),
        "segments_received": known(row["segs_in"], when=whole),
        "mss": known(row["mss"], when=whole and row["old_state"] != State.SYN_SENT),
        "keepalive": bool(traits & record.T_KEEPALIVE) if read else None,
        "rtt_ms": (int(row["srtt"]) >> 3) / 1000 if row["srtt"] else None,
        "min_rtt_ms": int(row["rtt_min"]) / 1000 if read and row["rtt_min"] != never else None,
    }


def plain(batch: Closes, at: int, why: str) -> dict[str, Any]:
    row, findings = batch.rows[at], batch.findings
    one = batch.rows[at : at + 1]
    flags = int(row["flags"])
    group = GROUPS.get(int(row["cgroup"]))
    verdict = VERDICTS[findings.verdict[at]].code
    form, closed_by = int(findings.form[at]), int(findings.closed_by[at])
    evidence = int(findings.evidence[at])
    queues = flags & (record.F_CLOSED | record.F_MISSED)
    layer = Layer(row["layer"])
    # A sockmap carries data past TCP; TLS keeps what the application has not read yet.
    past, above = layer is Layer.SOCKMAP, layer in (Layer.SOCKMAP, Layer.TLS)
    # Nothing has come yet, whatever stands above.
    above &= row["old_state"] != State.SYN_SENT
    owners = (None, "connect", "close", "io", "listener", "diag", "kernel")
    return {
        "v": 1,
        "kind": "close",
        "time": when(int(row["at"][len(path(row)) - 1])),
        "host": "box",
        "netns": int(row["netns"]),
        "family": family(row),
        "local": endpoint(row, "l"),
        "remote": endpoint(row, "r"),
        "role": role(flags),
        "pid": int(row["pid"]) or None,
        "comm": bytes(row["comm"]).decode(errors="backslashreplace") or None,
        "uid": int(row["uid"]),
        "cgroup": group,
        "unit": cgroup.unit(group),
        "container": cgroup.container(group),
        "listener": None,
        "owner_from": owners[row["owner_from"]],
        "layer": None if layer in (Layer.NONE, Layer.UNKNOWN) else layer.name.lower(),
        "mptcp": None,
        "first_close": FIRST_CLOSE[findings.first_close[at]],
        "form": None if form == UNKNOWN else FORMS[form],
        "verdict": verdict,
        "closed_by": None if closed_by == UNKNOWN else CLOSED_BY[closed_by],
        "exit": exit_of(row),
        "time_wait": TIME_WAIT[findings.time_wait[at]],
        "states": states(row),
        "duration_ms": ms(int(fields.duration_ns(one)[0])),
        "teardown_ms": ms(int(fields.teardown_ns(one)[0])),
        "half_closed_ms": half_closed(row),
        "bytes_sent": None if past else once(row),
        "bytes_received": None
        if past
        else max(int(row["bytes_received"]) - bool(flags & record.F_DONE), 0),
        "bytes_unread": int(fields.bytes_unread(one)[0]) if queues and not above else None,
        "bytes_unacked": int(fields.bytes_unacked(one)[0]) if queues else None,
        **measures(row),
        "ttl": int(row["ttl"]) or None,
        "retransmits": {
            "total": int(row["total_retrans"]),
            "fin": int(row["fin_retrans"]),
            "last_rto_ms": int(row["rto"]) * 4 or None,
            "backoff": int(row["backoff"]),
        },
        "probes": probes(row),
        "refused": refused(row),
        "limit": limit(
            int(findings.limit[at]),
            int(findings.limit_value[at]),
            int(findings.limit_elapsed_ms[at]),
        ),
        "reset": reset(row, int(findings.reset_direction[at]), verdict),
        "error": fields.error_name(int(findings.error[at])),
        "icmp_from": "192.0.2.77" if row["traits"] & record.T_ICMP else None,
        "why": why,
        "hints": [hint.code for bit, hint in enumerate(HINTS) if findings.hints[at] >> bit & 1],
        "evidence": [name for bit, name in enumerate(EVIDENCE) if evidence >> bit & 1],
        "confidence": CONFIDENCE[findings.confidence[at]],
    }


def expected_of(batch: Closes) -> list[dict[str, Any]]:
    why = sentences(batch.rows, batch.findings, NAMES)
    more = hint_text.sentences(batch.rows, batch.findings, NAMES)
    texts = [first + second for first, second in zip(why, more, strict=True)]
    return [plain(batch, at, text) for at, text in enumerate(texts)]


def read(out: io.BytesIO) -> list[Any]:
    lines = out.getvalue().decode().split("\n")
    assert lines.pop() == ""
    return [json.loads(line) for line in lines]


def test_templates_give_what_plain_rendering_gives() -> None:
    out = io.BytesIO()
    sink = JsonSink(out, CONTEXT)
    expected = []
    # Several batches: templates and columns of the first ones meet the shapes of the later ones.
    for seed in range(4):
        batch = varied(200, seed)
        expected += expected_of(batch)
        sink.closes(batch)
    assert read(out) == expected


def many_alike(seed: int) -> Closes:
    """Few connections, each many times, so that most columns of a shape have one value; not in all shapes."""
    random = np.random.default_rng(seed)
    which = random.permutation(np.repeat(np.arange(12), 100))
    which[random.integers(0, len(which), 9)] = np.arange(12, 21)
    batch = varied(21, seed).take(which)
    rows = batch.rows
    for name in ("rport", "pid", "bytes_acked", "rtt_min"):
        some = random.integers(0, 3, len(rows)) == 0
        rows[name][some] = random.integers(0, 1 << 16, some.sum())
    # One row of a shape that differs from all others in one column.
    for at, name in enumerate(("lport", "netns", "uid", "total_retrans", "mss")):
        rows[name][at] = 7
    for last, some in ((3, rows["family"] == 2), (15, rows["family"] != 2)):
        rows["raddr"][some, last] = random.integers(0, 256, some.sum())
    rows["at"][100:110, 1:] += np.uint64(3600 * 10**9)
    return batch


def test_what_is_constant_in_a_shape_is_the_same_in_every_line() -> None:
    for seed in range(3):
        out = io.BytesIO()
        batch = many_alike(seed)
        JsonSink(out, CONTEXT).closes(batch)
        assert read(out) == expected_of(batch)
