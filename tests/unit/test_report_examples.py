# SPDX-License-Identifier: Apache-2.0
"""What the text of a report says of single connections, and what ``explain`` says of hints."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from tests.unit.report_rows import Memory, connections
from tracetw.cli import main
from tracetw.event.record import T_QUIET, T_READ
from tracetw.report.build import build
from tracetw.report.render.examples import measured
from tracetw.report.render.text import report_text
from tracetw.verdict.hints import HINTS

OWN = "10.0.0.1"
# Jiffies of 4 ms.
QUIET = {
    "traits": T_QUIET | T_READ,
    "quiet": 500,
    "since_sent": 500,
    "since_received": 250,
    "bytes_acked": 1201,
}


def text(**more: Any) -> str:
    """The paragraphs on one connection, in one line."""
    row = connections("peer-reset", [5.0], remote=OWN, lport=7000, **more)
    whole = report_text(build([Memory(row)], utc=True), utc=True)
    _, _, rest = whole.partition("One connection of each\n")
    return " ".join(rest.partition("\n\n")[0].split())


def test_a_hint_is_there_with_its_sentence_and_what_to_do() -> None:
    said = text(rport=7000)
    assert said.startswith("- 12:00:05 10.0.0.1:7000 to 10.0.0.1:7000 (nginx/812): peer-reset")
    assert "It was connected to itself: connect() to a port of this host got that port" in said
    assert "-> connected-to-itself: Nothing listened on a port of ip_local_port_range" in said


def test_another_port_is_another_connection() -> None:
    said = text(rport=7001)
    assert said.startswith("- 12:00:05 10.0.0.1:7000 to 10.0.0.1:7001 (nginx/812): peer-reset")
    assert "connected to itself" not in said
    assert "->" not in said


def test_measures_are_a_sentence() -> None:
    said = text(rport=7001, **QUIET)
    assert (
        "Before it nothing came from the peer for 2.0s, no data came for 1.0s, no data was sent for 2.0s."
        in said
    )
    assert "Bytes: 1,200 sent, " in said


def test_what_is_unknown_is_not_said() -> None:
    said = text(rport=7001)
    assert "Before it" not in said
    assert "acknowledged" not in said.partition("Bytes:")[2]
    nothing = dict.fromkeys(("idle_ms", "since_received_ms", "since_sent_ms", "bytes_sent"))
    nothing |= dict.fromkeys(("bytes_acked", "bytes_unsent", "bytes_received", "bytes_unread"))
    assert measured({**nothing, "min_rtt_ms": None}) == ""
    assert measured({**nothing, "bytes_sent": 0, "min_rtt_ms": 1.5}) == "Least round trip: 1.5 ms."


def test_a_hostile_name_is_escaped() -> None:
    assert "\x1b" not in text(rport=7001, comm=b"\x1b[2Jgone")


def test_nothing_went_wrong() -> None:
    rows = connections("orderly-active", np.arange(5.0))
    assert "One connection of each" not in report_text(build([Memory(rows)], utc=True), utc=True)


@pytest.mark.parametrize("hint", HINTS, ids=lambda hint: hint.code)
def test_every_hint_is_explained(hint: Any) -> None:
    said = " ".join(CliRunner().invoke(main, ["explain", hint.code]).output.split())
    assert hint.holds.split("`")[0] in said
    assert hint.advice.split("`")[0].rstrip() in said


def test_explain_lists_hints_and_finds_the_nearest() -> None:
    listed = CliRunner().invoke(main, ["explain"]).output
    assert [hint.code for hint in HINTS if f"\n{hint.code} " not in listed] == []
    result = CliRunner().invoke(main, ["explain", "idle-timeouts"])
    assert (result.exit_code, "did you mean idle-timeout?" in result.stderr) == (2, True)
