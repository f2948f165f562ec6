# SPDX-License-Identifier: Apache-2.0
"""Connection tracking of a network namespace, and what the packet filter does with INVALID packets."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

__all__ = ["Tracking", "tracking"]

_SYSCTLS = Path("/proc/sys/net/netfilter")
_STATISTICS = Path("/proc/thread-self/net/stat/nf_conntrack")
_MODULE = Path("/sys/module/nf_tables")
_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
_DEADLINE_S, _MOST_BYTES = 5.0, 8 << 20
_STATE = {"ct": {"key": "state"}}
_ELSEWHERE = frozenset({"jump", "goto", "reject"})
_COUNTERS = frozenset({"invalid", "drop", "early_drop", "insert_failed"})


class Tracking(NamedTuple):
    """Connection tracking here.

    Attributes:
        entries: connections tracked now; 0: nothing uses it here.
        counters: ``invalid``, ``drop``, ``early_drop``, ``insert_failed`` since boot, of this namespace.
        drops_invalid: whether a rule drops packets of ``ct state invalid``; None: not known.
        unknown: why it is not known; empty if it is.
    """

    entries: int
    counters: dict[str, int]
    drops_invalid: bool | None
    unknown: str


def tracking(*, nf_tables: bool) -> Tracking | None:
    """Of the calling thread's namespace; None where the kernel has no connection tracking.

    Asks nft only where connections are tracked, and ``nf_tables`` is in the kernel or loaded: asking would
    load the module.
    """
    try:
        entries = int((_SYSCTLS / "nf_conntrack_count").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    drops, unknown = _invalid(nf_tables=nf_tables) if entries else (None, "nothing is tracked")
    return Tracking(entries, _counters(), drops, unknown)


def _counters() -> dict[str, int]:
    """Sums over the CPUs: a line of hexadecimal numbers each, under a line of names."""
    try:
        lines = _STATISTICS.read_text(encoding="ascii").splitlines()
        rows = [[int(word, 16) for word in line.split()] for line in lines[1:]]
    except (OSError, ValueError):
        return {}
    names = lines[0].split() if lines else []
    sums = [sum(column) for column in zip(*rows, strict=False)]
    return {name: number for name, number in zip(names, sums, strict=False) if name in _COUNTERS}


def _invalid(*, nf_tables: bool) -> tuple[bool | None, str]:
    nft = shutil.which("nft", path=_PATH)
    if nft is None:
        return None, "nft is not installed"
    if not nf_tables and not _MODULE.exists():
        return None, "the rules are not nf_tables"
    said, status = _said(nft)
    if len(said) > _MOST_BYTES:
        return None, "the ruleset is too long"
    if status:
        return None, "nft list ruleset is refused" if status > 0 else "nft does not answer"
    return drops_invalid(said)


def _said(nft: str) -> tuple[bytes, int]:
    """What it prints, up to a byte more than is taken, and its status: negative if it was ended here."""
    with subprocess.Popen(
        [nft, "-j", "list", "ruleset"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={"PATH": _PATH, "LC_ALL": "C"},
    ) as child:
        watch = threading.Timer(_DEADLINE_S, child.kill)
        watch.start()
        try:
            said = child.stdout.read(_MOST_BYTES + 1) if child.stdout else b""
            if len(said) > _MOST_BYTES:
                child.kill()
            return said, child.wait()
        finally:
            watch.cancel()


def drops_invalid(ruleset: bytes) -> tuple[bool | None, str]:
    """What a ruleset in JSON does with ``ct state invalid``, and why that is not known."""
    try:
        parts = json.loads(ruleset)["nftables"]
        chains = [part["chain"] for part in parts if "chain" in part]
        policies = {chain.get("policy") for chain in chains}
        rules = [part["rule"]["expr"] for part in parts if "rule" in part]
        found = {_drops(expressions) for expressions in rules}
        xt = any("xt" in expression for expressions in rules for expression in expressions)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None, "the ruleset cannot be read"
    if True in found:
        return True, ""
    if xt:
        return None, "rules of iptables cannot be read"
    if None in found:
        return None, "rules on the state of connections cannot be followed"
    if "drop" in policies:
        return None, "a chain drops what no rule accepts"
    return False, ""


def _drops(expressions: list[Any]) -> bool | None:
    """Does a rule drop packets in state INVALID? None: what it does with them was not followed."""
    drops: bool | None = False
    named = {name for expression in expressions for name in expression}
    for expression in expressions:
        match, vmap = expression.get("match", {}), expression.get("vmap", {})
        if _of_state(vmap.get("key")):
            elements = vmap["data"]["set"] if isinstance(vmap["data"], dict) else ()
            if any("drop" in verdict for key, verdict in elements if "invalid" in _names(key)):
                return True
            drops = None
        elif _of_state(left := match.get("left")):
            plain = left == _STATE and match.get("op") != "!="
            mentioned = "invalid" in _names(match.get("right"))
            if plain and mentioned and "drop" in named:
                return True
            unclear = "drop" in named and not plain and not mentioned
            if unclear or "vmap" in named or named & _ELSEWHERE:
                drops = None
    return drops


def _of_state(left: Any) -> bool:  # noqa: ANN401 (JSON)
    """The state of a connection, alone or with something else."""
    return left == _STATE or (isinstance(left, dict) and _STATE in left.get("concat", ()))


def _names(right: Any) -> Iterable[Any]:  # noqa: ANN401 (JSON)
    named = right.get("set", right) if isinstance(right, dict) else right
    return named if isinstance(named, list) else [named]
