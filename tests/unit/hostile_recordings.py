# SPDX-License-Identifier: Apache-2.0
"""Recordings that nobody's recorder wrote: every checksum holds, and anything else may be wrong.

The documents in them are generated from the schema: each of its types is given what it must refuse,
what is just within its bounds and what is just beyond, alone and together. Rows, frames, seals and
Parquet files are changed with their checksums made to hold again.
"""

from __future__ import annotations

import copy
import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import numpy as np
from hypothesis import strategies as st
from msgspec import inspect

from tests.unit.recording_files import GOLDEN, compacted, everything, golden
from tracetw.event.record import CLOSE, EVENT
from tracetw.recording.convert import FORMAT_VERSION
from tracetw.recording.frame import FrameKind, head, payload, scan
from tracetw.recording.schema import (
    HeaderDocument,
    LostDocument,
    NamesDocument,
    SampleDocument,
    SealDocument,
)

__all__ = ["HOSTILE_TEXTS", "Bytes", "Folder", "Raw", "base", "documents", "folders", "packed"]

HOSTILE_TEXTS = (
    "",
    ".",
    "..",
    "../../../../victim/evil",
    "/etc/passwd",
    "x/*",
    "*?[a-z]{a,b}",
    "a\0b",
    "a\nb\rc",
    "\x1b]0;title\x07\x1b[2J",
    "\x9b31m",
    "\u202egnp.exe",
    "'; DROP VIEW closes; --",
    "'), read_text('/etc/shadow",
    "=cmd|' /C calc'!A0",
    "</script><script>alert(1)</script>",
    "{0.__class__}%s%n",
    "x" * 70_000,
    "\u00e4" * 300,
)
_RAW_TEXTS = (
    "NaN", "-Infinity", "1e400", "-0", "1e-400", "0.1", "1" * 5000, '"\\ud800"', '"\\udc80x"', '"\\ud83d\\ude00"',
    "[" * 200_000, "[" * 500 + "]" * 500, '{"a":' * 200_000, "{}", "[]", "null", "true", '"1"', "tru",
)  # fmt: skip
_NUMBERS = (0, 1, -1, 2**31, 2**32, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64, -(2**63), 10**40)


@dataclass(frozen=True)
class Raw:
    """JSON as it is written, valid or not."""

    text: str


@dataclass(frozen=True)
class Bytes:
    """One frame to be."""

    kind: int
    data: bytes
    rows: int = 0
    version: int = FORMAT_VERSION
    time_ns: int = 1_795_351_461_000_000_000
    number: int | None = None


def packed(frames: list[Bytes]) -> bytes:
    """A segment whose checksums hold."""
    seed, text = 0, b""
    for place, one in enumerate(frames):
        first, crc = head(
            one.kind,
            [one.data],
            version=one.version,
            number=place if one.number is None else one.number,
            rows=one.rows & 0xFFFF_FFFF,
            time_ns=one.time_ns,
            seed=seed,
        )
        seed = seed or crc
        text += first + one.data
    return text


def dumped(value: Any) -> bytes:
    """JSON with raw parts in it; a list of pairs in place of a dictionary may repeat keys."""
    raws: list[str] = []

    def mark(one: Any) -> Any:
        if isinstance(one, Raw):
            raws.append(one.text)
            return f"@raw{len(raws) - 1}@"
        if isinstance(one, dict):
            return {str(key): mark(part) for key, part in one.items()}
        if isinstance(one, (list, tuple)):
            return [mark(part) for part in one]
        return one

    text = json.dumps(mark(value))
    for number, raw in enumerate(raws):
        text = text.replace(f'"@raw{number}@"', raw)
    return text.encode()


@dataclass(frozen=True)
class Base:
    """A whole segment, taken apart."""

    frames: tuple[Bytes, ...]
    documents: Mapping[Any, Any]
    files: Mapping[str, bytes] = field(default_factory=dict)


DOCUMENTS: Mapping[int, type[msgspec.Struct]] = {
    FrameKind.HEADER: HeaderDocument,
    FrameKind.SAMPLE: SampleDocument,
    FrameKind.LOST: LostDocument,
    FrameKind.NAMES: NamesDocument,
}


@cache
def base() -> Base:
    """Twenty rows of each kind, and a document of each."""
    (path,) = (GOLDEN / f"v{FORMAT_VERSION}" / "raw").rglob("*.tws")
    with path.open("rb") as file:
        found = {frame.kind: payload(file, frame) for frame in scan(file)}
    header = json.loads(found[FrameKind.HEADER])
    header["filters"], header["netns_names"] = ["--port 80"], {"4026531833": "blue"}
    # What later versions of this format may leave out.
    header |= {"comparable": True, "netns_traced": [4026531833], "tw_at_birth": True}
    header |= {"hidden": {"OutRsts": "resets"}, "max_connections": 65_536}
    start = header["started_ns"]
    lost = {"records": 3, "where": "a ring buffer", "since_ns": start, "until_ns": start + 10**9}
    lost["closes"] = 1
    sample = json.loads(found[FrameKind.SAMPLE])
    inode = next(iter(header["counters"]))
    sample["counters"] = {inode: header["counters"][inode]}
    sample["sysctls"] = {inode: header["sysctls"][inode]}
    sample["netns_names"], sample["gone"] = {inode: "blue"}, [7]
    listener = {"netns": int(inode), "address": "::", "port": 80, "pid": 1, "comm": "a", "uid": 0}
    listener["cgroup"] = "/"
    sample["listeners"] = header["listeners"] = [listener]
    sample["ended"] = [
        {name: listener[name] for name in ("netns", "address", "port", "pid", "comm", "cgroup")}
        | {"time_ns": start, "exit_code": 9, "oom": False}
    ]
    header["host_names"] = {"10.0.0.1": "db"}
    documents = {
        FrameKind.HEADER: header,
        FrameKind.SAMPLE: sample,
        FrameKind.LOST: lost,
        FrameKind.NAMES: {
            "cgroups": {"1": "/"},
            "users": {"0": "root"},
            "heard": [{"netns": int(inode), "port": 80, "comm": "a", "cgroup": "/"}],
            "closes": 1,
        },
    }
    closes, events = everything(golden())[:20], everything(golden(), "events")[:20]
    frames = [Bytes(kind, dumped(document)) for kind, document in documents.items()]
    frames.append(Bytes(FrameKind.CLOSES, closes.tobytes(), len(closes)))
    frames.append(Bytes(FrameKind.EVENTS, events.tobytes(), len(events)))
    frames.append(Bytes(FrameKind.END, b'{"closes":20,"events":20}'))
    return Base(tuple(frames), documents)


@cache
def sealed() -> Base:
    """A compacted segment, with its Parquet files."""
    with TemporaryDirectory() as name:
        path = compacted(Path(name) / "a.tws", golden().header)
        with path.open("rb") as file:
            frames = tuple(Bytes(one.kind, payload(file, one), one.rows) for one in scan(file))
        files = {one.name: one.read_bytes() for one in path.parent.glob("*.parquet")}
    return Base(frames, {}, files)


def _bad_values(type_: inspect.Type) -> list[Any]:
    """What a type must refuse, and the edges of what it takes."""
    values: list[Any] = [None, True, 1.5, "text", [], {}, [[]], {"": {}}, *map(Raw, _RAW_TEXTS)]
    values += [*_NUMBERS, *HOSTILE_TEXTS]
    for name in ("ge", "le", "gt", "lt"):
        limit = getattr(type_, name, None)
        if limit is not None:
            values += [limit - 1, limit, limit + 1]
    if isinstance(type_, inspect.StrType) and type_.max_length:
        values += ["x" * type_.max_length, "x" * (type_.max_length + 1)]
    if isinstance(type_, inspect.ListType):
        values += [[value] for value in (*_NUMBERS, *HOSTILE_TEXTS)] + [[0] * 70_000]
    if isinstance(type_, inspect.DictType):
        values += [{value: value} for value in (*_NUMBERS, *HOSTILE_TEXTS)]
        values += [dict.fromkeys(range(70000), "A"), {number: {} for number in range(9000)}]
    return values


_Path = tuple[Any, ...]


def _nodes(type_: inspect.Type, value: Any, path: _Path = ()) -> Iterator[tuple[_Path, list[Any]]]:
    """Every place in a document and what to put there, with the keys of dictionaries."""
    if path:
        yield path, _bad_values(type_)
    if isinstance(type_, inspect.StructType):
        for one in type_.fields:
            yield from _nodes(one.type, value[one.encode_name], (*path, one.encode_name))
    elif isinstance(type_, inspect.DictType) and value:
        key = next(iter(value))
        yield (*path, ("key", key)), [*HOSTILE_TEXTS, *map(str, _NUMBERS), "1.5", "0x1", " 1"]
        yield from _nodes(type_.value_type, value[key], (*path, key))
    elif isinstance(type_, (inspect.ListType, inspect.TupleType)) and value:
        item = type_.item_type if isinstance(type_, inspect.ListType) else type_.item_types[0]
        yield from _nodes(item, value[0], (*path, 0))
    elif isinstance(type_, inspect.AnyType) and isinstance(value, list):
        yield (*path, 0), [*map(Raw, _RAW_TEXTS), "<u8", "O", "<V99999", "|S0", *_NUMBERS]


def _changed(document: Any, path: _Path, value: Any) -> Any:
    """With another value there; ``...`` removes what is there."""
    document = copy.deepcopy(document)
    here = document
    for step in path[:-1]:
        here = here[step]
    last = path[-1]
    if isinstance(last, tuple):
        here[str(value)] = here.pop(last[1])
    elif value is ...:
        del here[last]
    else:
        here[last] = value
    return document


@cache
def nodes(type_: type[msgspec.Struct], text: str) -> list[tuple[_Path, list[Any]]]:
    return [*_nodes(inspect.type_info(type_), json.loads(text))]


@st.composite
def documents(draw: st.DrawFn, type_: type[msgspec.Struct], document: Any) -> bytes:
    """A document that is wrong in one to three places of the schema."""
    places = nodes(type_, json.dumps(document))
    for _ in range(draw(st.integers(1, 3))):
        path, values = draw(st.sampled_from(places))
        value = draw(st.sampled_from(values if isinstance(path[-1], tuple) else [*values, ...]))
        try:
            document = _changed(document, path, value)
        except (KeyError, IndexError, TypeError, AttributeError):
            continue  # another change took the place away
    return dumped(document)


@st.composite
def rows(draw: st.DrawFn, dtype: np.dtype[np.void]) -> bytes:
    """Rows with extreme numbers in some fields, or with any bytes at all."""
    kind = "closes" if dtype == CLOSE else "events"
    some = everything(golden(), kind)[:20].copy()
    if draw(st.booleans()):
        seed = draw(st.integers(0, 2**32 - 1))
        random = np.random.default_rng(seed)
        return random.integers(0, 256, len(some) * dtype.itemsize, dtype=np.uint8).tobytes()
    for _ in range(draw(st.integers(1, 4))):
        name = draw(st.sampled_from(dtype.names or ()))
        which = draw(st.sampled_from([slice(0, 1), slice(None)]))
        form = dtype[name].base
        if form.kind == "S":
            text = draw(
                st.sampled_from([b"\x1b[2J", b"\xff\xfe", b"a\nb", b"=1+1", b"\xe2\x80\xae"])
            )
            some[name][which] = text
        else:
            limits = np.iinfo(form)
            value = draw(st.sampled_from([limits.min, 0, 1, limits.max // 2, limits.max]))
            some[name][which] = value
    return some.tobytes()


@st.composite
def frames(draw: st.DrawFn) -> list[Bytes]:
    """Whole documents in frames that are not as they should be."""
    found = [*base().frames]
    place = draw(st.integers(0, len(found) - 1))
    one = found[place]
    changes = [
        replace(one, version=0),
        replace(one, version=draw(st.sampled_from([FORMAT_VERSION + 1, 65_535]))),
        replace(one, rows=draw(st.sampled_from([0, 1, 21, 2**31, 2**32 - 1]))),
        replace(one, time_ns=draw(st.sampled_from([0, 1, 2**62, 2**63, 2**64 - 1]))),
        replace(one, kind=draw(st.sampled_from([0, *FrameKind, 9, 255]))),
        replace(one, number=draw(st.sampled_from([0, 2**32 - 1]))),
        replace(one, data=one.data[: draw(st.integers(0, len(one.data)))]),
        replace(one, data=one.data * 2),
        replace(one, data=b""),
    ]
    found[place] = draw(st.sampled_from(changes))
    if draw(st.booleans()):
        found.insert(draw(st.integers(0, len(found))), one)
    if draw(st.booleans()):
        found = found[: draw(st.integers(1, len(found)))]
    return found


_LENGTH = struct.Struct("<I")


@st.composite
def seals(draw: st.DrawFn) -> tuple[list[Bytes], dict[str, bytes]]:
    """A compacted segment of which the seal, the footer or the Parquet file is changed."""
    whole = sealed()
    found, files = [*whole.frames], dict(whole.files)
    place = draw(
        st.sampled_from([at for at, one in enumerate(found) if one.kind == FrameKind.SEAL])
    )
    data = found[place].data
    (length,) = _LENGTH.unpack_from(data)
    document = json.loads(data[4 : 4 + length])
    footer = bytearray(data[4 + length :])
    what = draw(st.sampled_from(["document", "footer", "length", "pages", "cut"]))
    text = dumped(document)
    if what == "document":
        text = draw(documents(SealDocument, document))
    elif what == "footer":
        for _ in range(draw(st.integers(1, 4))):
            footer[draw(st.integers(0, len(footer) - 1))] = draw(st.integers(0, 255))
    elif what == "pages":
        file = bytearray(files[document["file"]])
        for _ in range(draw(st.integers(1, 4))):
            file[draw(st.integers(0, len(file) - len(footer) - 1))] = draw(st.integers(0, 255))
        files[document["file"]] = bytes(file)
        begin = 0
        for part in document["parts"]:
            part["crc"] = zlib.crc32(file[begin : begin + part["length"]])
            begin += part["length"]
        text = dumped(document)
    elif what == "cut":
        footer = footer[: draw(st.integers(0, len(footer)))]
    size = len(text) if what != "length" else draw(st.sampled_from([0, 1, 2**31, 2**32 - 1]))
    found[place] = replace(found[place], data=_LENGTH.pack(size) + text + bytes(footer))
    return found, files


class Folder:
    """Names to contents of the files of one recording. What a failure prints is short."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = files

    def __repr__(self) -> str:
        sizes = {name: len(content) for name, content in self.files.items()}
        return f"Folder({sizes})"


@st.composite
def folders(draw: st.DrawFn) -> Folder:
    """The files of one recording."""
    what = draw(st.sampled_from(["header"] * 4 + ["rows"] * 3 + ["seal"] * 3 + ["frames", "other"]))
    files: dict[str, bytes] = {}
    found = [*base().frames]
    if what == "seal":
        found, files = draw(seals())
    elif what == "frames":
        found = draw(frames())
    elif what == "rows":
        for place, one in enumerate(found):
            dtype = {FrameKind.CLOSES: CLOSE, FrameKind.EVENTS: EVENT}.get(one.kind)  # type: ignore[call-overload]
            if dtype is not None:
                found[place] = replace(one, data=draw(rows(dtype)))
    else:
        kinds = (
            [FrameKind.HEADER]
            if what == "header"
            else [FrameKind.SAMPLE, FrameKind.LOST, FrameKind.NAMES]
        )
        for place, one in enumerate(found):
            if one.kind in kinds:
                data = draw(documents(DOCUMENTS[one.kind], base().documents[one.kind]))
                found[place] = replace(one, data=data)
    return Folder({"a.tws": packed(found), **files})
