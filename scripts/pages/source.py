# SPDX-License-Identifier: Apache-2.0
"""Constants of the sources, Python and C, found by name wherever they stand."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence

from scripts.checkout.made import ROOT

_SIZES = {"u64": 8, "u32": 4, "u16": 2, "u8": 1}


def constant(name: str) -> float:
    """A number that one module of tracetw assigns to ``name``; LookupError unless exactly one does."""
    found = [
        ast.literal_eval(node.value)
        for path in sorted(ROOT.glob("tracetw/**/*.py"))
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign)
        and [getattr(target, "id", None) for target in node.targets] == [name]
    ]
    return _only(found, name)


def define(name: str) -> float:
    """A number that one header of bpf/ defines as ``name``."""
    pattern = re.compile(rf"^#define {name} (\d+)(?:u?ll)?$", re.MULTILINE)
    found = [int(text) for header in _headers() for text in pattern.findall(header)]
    return _only(found, name)


def size_of(struct: str) -> int:
    """Bytes of a struct of bpf/ that has only numbers and arrays of them, without holes."""
    pattern = re.compile(rf"^struct {struct} {{\n(.*?)^}};$", re.MULTILINE | re.DOTALL)
    (body,) = (text for header in _headers() for text in pattern.findall(header))
    fields = re.findall(r"^\t(\w+) \w+(?:\[(\w+)\])?;", body, re.MULTILINE)
    if len(fields) != body.count(";"):
        raise LookupError(f"struct {struct} has other fields than numbers")
    return sum(_SIZES[kind] * _length(length) for kind, length in fields)


def _length(text: str) -> int:
    if not text:
        return 1
    return int(text) if text.isdigit() else int(define(text))


def _headers() -> list[str]:
    return [path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("bpf/*.h"))]


def _only(found: Sequence[float], name: str) -> float:
    if len(found) != 1:
        raise LookupError(f"{name} is defined {len(found)} times, not once")
    return found[0]
