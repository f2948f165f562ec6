# SPDX-License-Identifier: Apache-2.0
"""Rules about INVALID packets in what ``nft -j list ruleset`` says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tracetw.host import firewall
from tracetw.host.firewall import drops_invalid

DROP, ACCEPT = {"drop": None}, {"accept": None}
STATE = {"ct": {"key": "state"}}


def match(right: object, op: str = "in") -> dict[str, Any]:
    return {"match": {"op": op, "left": STATE, "right": right}}


def vmap(*elements: object) -> dict[str, Any]:
    return {"vmap": {"key": STATE, "data": {"set": [*elements]}}}


@pytest.mark.parametrize(
    ("expressions", "drops"),
    [
        ([match("invalid"), {"counter": {"packets": 1}}, DROP], True),
        ([match({"set": ["invalid", "untracked"]}, "=="), DROP], True),
        ([match(["invalid", "new"]), DROP], True),
        ([match("invalid"), ACCEPT], False),
        ([match("new"), DROP], False),
        ([match("invalid", "!="), DROP], False),
        (
            [{"match": {"op": "==", "left": {"meta": {"key": "mark"}}, "right": "invalid"}}, DROP],
            False,
        ),
        ([{"xt": {"type": "match", "name": "conntrack"}}, DROP], None),
        ([vmap(["established", ACCEPT], ["invalid", DROP])], True),
        ([vmap([["invalid", "untracked"], DROP])], True),
        ([vmap(["established", ACCEPT], ["new", DROP])], None),
        ([{"vmap": {"key": STATE, "data": "@fates"}}], None),
        ([{"vmap": {"key": {"meta": {"key": "mark"}}, "data": "@fates"}}], False),
        ([match("invalid"), {"jump": {"target": "bad"}}], None),
        ([match("new"), {"goto": {"target": "bad"}}], None),
        ([match("invalid"), {"reject": None}], None),
        ([match("established", "!="), DROP], None),
        ([DROP], False),
        ([], False),
    ],
)
def test_rules(expressions: list[Any], *, drops: bool | None) -> None:
    ruleset = {"nftables": [{"metainfo": {}}, {"rule": {"expr": expressions}}]}
    assert drops_invalid(json.dumps(ruleset).encode())[0] is drops


@pytest.mark.parametrize(("policy", "drops"), [("drop", None), ("accept", False)])
def test_a_policy_may_drop_them(policy: str, *, drops: bool | None) -> None:
    parts = [{"chain": {"name": "input", "policy": policy}}, {"chain": {"name": "plain"}}]
    assert drops_invalid(json.dumps({"nftables": parts}).encode())[0] is drops


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"nftables": 3}',
        b'{"nftables": [{"rule": 3}]}',
        b'{"nftables": [{"rule": {"expr": [3]}}]}',
        b'{"nftables": [{"rule": {"expr": [{"match": 3}]}}]}',
        b"[" * 100_000,
    ],
)
def test_nonsense_is_not_known(said: bytes) -> None:
    drops, why = drops_invalid(said)
    assert drops is None
    assert why


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("yes", "the ruleset is too long"),
        ("sleep 60", "nft does not answer"),
        ("exit 3", "nft list ruleset is refused"),
        ("echo nonsense", "the ruleset cannot be read"),
        ("printf '{\"nftables\": []}'", ""),
    ],
)
def test_an_nft_that_is_not_what_it_should_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, why: str
) -> None:
    nft = tmp_path / "nft"
    nft.write_text(
        f"#!/bin/sh\nexec {script}\n" if script[:4] != "exit" else f"#!/bin/sh\n{script}\n"
    )
    nft.chmod(0o755)
    monkeypatch.setattr(firewall, "_PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(firewall, "_DEADLINE_S", 1.0)
    assert firewall._invalid(nf_tables=True) == (None if why else False, why)
