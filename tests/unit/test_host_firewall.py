# SPDX-License-Identifier: Apache-2.0
"""Rules about INVALID packets in what ``nft -j list ruleset`` says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tracetw.host.firewall import drops_invalid

DROP, ACCEPT = {"drop": None}, {"accept": None}


def match(right: object, op: str = "in") -> dict[str, Any]:
    return {"match": {"op": op, "left": {"ct": {"key": "state"}}, "right": right}}


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
        ([DROP], False),
        ([], False),
    ],
)
def test_rules(expressions: list[Any], *, drops: bool | None) -> None:
    ruleset = {"nftables": [{"metainfo": {}}, {"rule": {"expr": expressions}}]}
    assert drops_invalid(json.dumps(ruleset).encode())[0] is drops


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
