# SPDX-License-Identifier: Apache-2.0
"""Owners of connections that are older than the trace; the others are scenarios of the lab."""

from __future__ import annotations

from typing import Any

from tracetw.lab.expect.lines import ALWAYS
from tracetw.lab.expect.match import SOME, at_least, between, differences, path
from tracetw.lab.net.topology import Net
from tracetw.lab.play.tracer import Tracer
from tracetw.lab.polling import eventually, patient
from tracetw.lab.scenarios.moves import abort, serve

OLD: dict[str, Any] = {**ALWAYS, "duration_ms": None, "confidence": SOME}


def test_older_than_the_trace() -> None:
    """Connections that existed before: their owner is looked up, never invented."""
    # Compiled now: the orphan may not live as long as a compiler on a busy machine.
    with Tracer():
        pass
    with Net() as closed, Net() as was_reset, Net() as orphaned:
        closes, closed_end = serve(closed, "old-closes")
        holds, reset_end = serve(was_reset, "old-holds")
        # Without a limit (before 6.15) the intervals double, 200 ms to 51 s: 102 s. With one there are as
        # many more as a tracer takes longer to start.
        retries, lasts_s = 8, 150.0
        if orphaned.b.has_sysctl("tcp_rto_max_ms"):
            orphaned.b.sysctl(tcp_rto_max_ms=1000)
            retries, lasts_s = round(patient(8)), 15.0
        orphaned.b.sysctl(tcp_orphan_retries=retries)
        gone, orphan_end = serve(orphaned, "old-gone")
        orphaned.drop(orphaned.a)
        gone.do("close")
        gone.kill()
        with Tracer() as tracer:
            assert orphaned.b.states() == ["FIN_WAIT1"], "the orphan died before the trace began"
            closes.do("close")
            eventually(lambda: closed.b.states() == ["FIN_WAIT2"])
            closed_end.close()
            abort(reset_end)
            eventually(lambda: was_reset.b.states() == [])
            lines = {
                "closed": tracer.close_of(closed.b.netns),
                "reset": tracer.close_of(was_reset.b.netns),
                "orphan": tracer.close_of(orphaned.b.netns, lasts_s),
            }
            tracer.stop()
        assert orphan_end.fileno() >= 0
    wanted = {
        "closed": OLD
        | {"verdict": "orderly", "first_close": "local", "time_wait": "local"}
        | {"owner_from": "close", "states": path("FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT")}
        | {"bytes_received": 5, "bytes_sent": 0}
        | closes.owner(),
        "reset": OLD
        | {"verdict": "peer-reset", "first_close": "remote", "owner_from": "diag"}
        | {"reset": {"direction": "received"}, "error": "ECONNRESET"}
        | holds.owner(),
        "orphan": OLD
        | {"verdict": "fin-exhausted", "form": "timeout", "states": path("CLOSE")}
        | {"pid": None, "comm": None, "owner_from": None}
        | {"retransmits": {"fin": at_least(1), "total": at_least(1)}}
        | {
            "limit": {
                "name": "tcp_orphan_retries",
                "value": retries,
                "elapsed_ms": between(1000, patient(lasts_s) * 1000),
            }
        },
    }
    wrong = [
        f"{name}: {text}"
        for name, expected in wanted.items()
        for text in differences(expected, lines[name])
    ]
    assert not wrong, "\n".join(wrong)
