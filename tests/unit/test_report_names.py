# SPDX-License-Identifier: Apache-2.0
"""A report says what is known of its addresses and ports, and asks nobody unless told to."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tests.unit.report_rows import NETNS, Memory, connections, outage, traffic
from tracetw.host.listening import Listening
from tracetw.report.build import build
from tracetw.report.names import known_of_incident, named
from tracetw.report.render.html import page
from tracetw.report.render.json import document
from tracetw.report.render.text import report_text

API = "/system.slice/api.service"
HOSTILE = "evil\x1b[2J</script><b>"


def recorded(host: str = "web-1", **names: str) -> Memory:
    """A server whose process dies, then refuses."""
    served = connections(
        "abort-unread", np.arange(100.0, 140.0, 0.1), lport=9101, rport=0, server=True
    )
    memory = Memory(served, *traffic(), host=host)
    memory.header = replace(
        memory.header,
        listeners=(Listening(NETNS, "::", 9101, 7, "api", 0, API),),
        host_names=names,
    )
    return memory


def told(*recordings: Memory, ask: Any = None) -> tuple[dict[str, Any], str, str]:
    report = build(recordings, utc=True, ask=ask)
    return document(report), report_text(report, utc=True), page(report, utc=True)


def test_the_service_of_an_incident_is_named() -> None:
    whole, text, html = told(recorded(**{"10.0.0.1": "web", "10.0.0.2": HOSTILE}))
    (incident,) = [one for one in whole["incidents"] if one["service"]["port"] == 9101]
    service = incident["service"]
    assert (service["comm"], service["unit"], service["container"]) == ("api", "api.service", None)
    assert whole["names"] == {"10.0.0.1": "web", "10.0.0.2": HOSTILE}
    flat = " ".join(text.split())
    assert "10.0.0.1:9101 is web, api, api.service" in flat
    assert r"10.0.0.2 is evil\x1b[2J</script><b>" in flat
    assert "\x1b" not in text
    assert "\x1b" not in html
    assert "</script><b>" not in html


def test_nothing_known_is_nothing_said() -> None:
    memory = recorded()
    memory.header = replace(memory.header, listeners=())
    whole, text, _ = told(memory)
    assert whole["names"] == {}
    assert {one["service"]["comm"] for one in whole["incidents"] if one["service"]} == {None}
    assert "known:" not in text


def test_hosts_that_call_an_address_differently_give_it_no_name() -> None:
    one, other = recorded(**{"10.0.0.2": "db"}), recorded("web-2", **{"10.0.0.2": "cache"})
    assert "10.0.0.2" not in told(one, other)[0]["names"]
    same = recorded("web-2", **{"10.0.0.2": "db"})
    assert told(one, same)[0]["names"]["10.0.0.2"] == "db"


def test_only_what_is_shown_and_has_no_name_is_asked_for() -> None:
    asked: list[set[str]] = []

    def ask(addresses: Collection[str]) -> Mapping[str, str]:
        asked.append({*addresses})
        return {"10.0.0.2": "from-dns"}

    whole, text, _ = told(recorded(**{"10.0.0.1": "web"}), ask=ask)
    assert len(asked) == 1
    assert "10.0.0.1" not in asked[0]
    assert whole["names"]["10.0.0.2"] == "from-dns"
    assert "from-dns" in text


def test_words() -> None:
    assert named("10.0.0.2", {}) == "10.0.0.2"
    assert named("10.0.0.2", {"10.0.0.2": "db"}) == "10.0.0.2 (db)"
    report = build([Memory(*outage(), *traffic())], utc=True)
    assert all(not [*known_of_incident(one, {})] for one in report.incidents)
