# SPDX-License-Identifier: Apache-2.0
"""What the JSON in a recording may be: every field, its type and its bounds.

A recording comes from another host, and its checksums are no signature: whoever wrote it chose every
byte. So each document is decoded as one of these types, and nothing reads it in another way. What
the recorder of any host writes is within the bounds: a name of 255 bytes that are no UTF-8 has 1,020
characters. Fields that a type does not have are passed
over, so that a later tracetw may add some; one that it needs and older recordings do not have gets a
default here. A field that changes its meaning is a new version of the format (``convert``).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Meta, Struct

from tracetw.host.listening import MOST_LISTENERS

__all__ = [
    "JSON_BYTES",
    "MOST_VALUES",
    "HeaderDocument",
    "Invalid",
    "ListenerDocument",
    "LostDocument",
    "NamesDocument",
    "SampleDocument",
    "SealDocument",
    "count_values",
    "decode",
    "decode_older",
]

JSON_BYTES = 8 << 20
"""Of one document. A header of seven thousand namespaces is as large; it takes 200 MB at the worst."""
MOST_VALUES = 500_000
"""Counters and settings, and the namespaces that have them, that are true at one time."""

# From 1970 to 2116: the sum of two is within 63 bits.
_TIME = (1 << 62) - 1
_INT64 = (1 << 63) - 1

Time: TypeAlias = Annotated[int, Meta(ge=0, le=_TIME)]
"""Nanoseconds since 1970."""
Offset: TypeAlias = Annotated[int, Meta(ge=-_TIME, le=_TIME)]
"""Nanoseconds between two clocks."""
Inode: TypeAlias = Annotated[int, Meta(ge=0, le=_INT64)]
Number: TypeAlias = Annotated[int, Meta(ge=0, le=0xFFFF_FFFF)]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=_INT64)]
Value: TypeAlias = Annotated[int, Meta(ge=-_INT64 - 1, le=_INT64)]
"""Of a counter or a setting."""
Text: TypeAlias = Annotated[str, Meta(max_length=1024)]
"""A name that a person or a program chose: any characters."""
Path: TypeAlias = Annotated[str, Meta(max_length=32_768)]
Argument: TypeAlias = Annotated[str, Meta(max_length=600_000)]
Run: TypeAlias = Annotated[str, Meta(pattern=r"\A[0-9a-f]{16}\Z")]
Symbol: TypeAlias = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_]{0,128}\Z")]
"""A name in C."""
Word: TypeAlias = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_.:-]{1,128}\Z")]
"""A name of ours, or of a counter or setting of the kernel."""
FileName: TypeAlias = Annotated[
    str, Meta(pattern=r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,200}\.parquet\Z")
]
"""In the folder of its segment: no separator, no glob, no hidden file."""
Words: TypeAlias = Annotated[list[Word], Meta(max_length=1024)]
Arguments: TypeAlias = Annotated[list[Argument], Meta(max_length=65_536)]
ByNetns: TypeAlias = dict[Inode, Annotated[dict[Word, Value], Meta(max_length=4096)]]
"""Counters or settings of each network namespace: the kernel has some 400 counters in one."""
NetnsNames: TypeAlias = dict[Inode, Text]
Numbered: TypeAlias = Annotated[dict[Number, Symbol], Meta(max_length=65_536)]

Layout: TypeAlias = Annotated[list[Any], Meta(max_length=256)]
"""Columns of rows as NumPy describes them: ``segment`` compares them with those of the version."""


class ClockDocument(Struct, frozen=True):
    """``Clock``"""

    offset_ns: Offset
    error_ns: Annotated[int, Meta(ge=0, le=_TIME)]


class NamesOfKernel(Struct, frozen=True):
    """``KernelNames``"""

    tcp_states: Annotated[dict[Number, Symbol], Meta(max_length=256)]
    reset_reasons: Numbered
    drop_reasons: Numbered
    hz: Annotated[int, Meta(ge=1, le=1_000_000)]


class ListenerDocument(Struct, frozen=True):
    """``Listening``"""

    netns: Inode
    address: Annotated[str, Meta(max_length=64)]
    port: Annotated[int, Meta(ge=0, le=0xFFFF)]
    pid: Number | None = None
    comm: Text | None = None
    uid: Number | None = None
    cgroup: Path | None = None


class ListenerEndDocument(Struct, frozen=True):
    """``ListenerEnd``"""

    time_ns: Time
    netns: Inode
    address: Annotated[str, Meta(max_length=64)]
    port: Annotated[int, Meta(ge=0, le=0xFFFF)]
    pid: Number
    comm: Text
    exit_code: Number
    oom: bool = False
    cgroup: Path | None = None


class LayoutDocument(Struct, frozen=True):
    """Layout of rows, by kind."""

    closes: Layout
    events: Layout


Listeners: TypeAlias = Annotated[list[ListenerDocument], Meta(max_length=MOST_LISTENERS)]
HostNames: TypeAlias = Annotated[
    dict[Annotated[str, Meta(max_length=64)], Text], Meta(max_length=MOST_LISTENERS)
]
"""``/etc/hosts``: address to name."""


class HeaderDocument(Struct, frozen=True):
    """``Header``, and the layout of rows."""

    run: Run
    segment: Annotated[int, Meta(ge=0, le=0xFFFF_FFFF)]
    host: Text
    kernel: Text
    machine: Text
    machine_id: Text | None
    boot: Text
    clock: ClockDocument
    run_started_ns: Time
    started_ns: Time
    netns: Inode
    names: NamesOfKernel
    netns_names: NetnsNames
    sysctls: ByNetns
    counters: ByNetns
    hooks: Words
    absent: Words
    events: Words
    command: Arguments
    filters: Arguments
    tracetw: Text
    signals: Numbered
    errors: Numbered
    dtypes: LayoutDocument
    comparable: bool = True
    netns_traced: list[Inode] | None = None
    tw_at_birth: bool = True
    hidden: Annotated[dict[Word, Text], Meta(max_length=1024)] = msgspec.field(default_factory=dict)
    max_connections: Count | None = None
    listeners: Listeners = msgspec.field(default_factory=list)
    host_names: HostNames = msgspec.field(default_factory=dict)


class SampleDocument(Struct, frozen=True):
    """``Sample``, as what changed since the one before."""

    moment: Literal["before", "attached", "running", "ended", "stopped"]
    time_ns: Time
    clock: tuple[Offset, Offset]
    counters: ByNetns
    sysctls: ByNetns
    netns_names: NetnsNames
    gone: Annotated[list[Inode], Meta(max_length=65_536)]
    stats: Annotated[dict[Word, Count], Meta(max_length=1024)]
    unfinished: Count
    listeners: Listeners | None = None
    ended: Annotated[list[ListenerEndDocument], Meta(max_length=MOST_LISTENERS)] = msgspec.field(
        default_factory=list
    )


class LostDocument(Struct, frozen=True):
    """``Lost``"""

    records: Count
    where: Text
    since_ns: Time
    until_ns: Time
    closes: Count | None = None


class HeardDocument(Struct, frozen=True):
    """``stream.known.PortListener``"""

    netns: Inode
    port: Annotated[int, Meta(ge=0, le=0xFFFF)]
    comm: Text | None = None
    cgroup: Path | None = None


class NamesDocument(Struct, frozen=True):
    """Names of control groups and users, by id; who listens, after so many closes of the segment."""

    cgroups: dict[Inode, Path] = msgspec.field(default_factory=dict)
    users: dict[Number, Text] = msgspec.field(default_factory=dict)
    heard: Annotated[list[HeardDocument], Meta(max_length=MOST_LISTENERS)] = msgspec.field(
        default_factory=list
    )
    closes: Count = 0


class PartDocument(Struct, frozen=True):
    """``parquet.Part``. A compaction makes row groups of 65,536 rows."""

    rows: Annotated[int, Meta(ge=1, le=1 << 17)]
    length: Annotated[int, Meta(ge=1, le=1 << 28)]
    crc: Number


class SealDocument(Struct, frozen=True):
    """``parquet.Seal`` without its footer."""

    kind: Literal["closes", "events"]
    file: FileName
    parts: Annotated[list[PartDocument], Meta(min_length=1, max_length=4096)]


class Invalid(ValueError):
    """A document is not what its type says; the message says where, in one plain line."""


_Document = TypeVar("_Document", bound=Struct)

_ESCAPE = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    rb"|u([dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
_BYTES = range(0xDC80, 0xDD00)
_BYTE_AT = 0xDC00


def count_values(by_netns: Mapping[int, Mapping[str, int]]) -> int:
    """What ``MOST_VALUES`` bounds: a namespace counts as well."""
    return len(by_netns) + sum(map(len, by_netns.values()))


def decode(data: bytes, type_: type[_Document]) -> _Document:
    """A document from its JSON, in memory that its size bounds. Raises Invalid."""
    data = _bounded(data)
    with _told():
        return msgspec.json.decode(data, type=type_)


def decode_older(
    data: bytes, convert: Callable[[dict[str, Any]], dict[str, Any]], type_: type[_Document]
) -> _Document:
    """The same for one of an older version: what ``convert`` makes of it is what is checked.

    Raises Invalid, whatever ``convert`` does with a document that is none.
    """
    data = _bounded(data)
    with _told():
        try:
            values = convert(msgspec.json.decode(data, type=dict[str, Any]))
        except (LookupError, TypeError, AttributeError) as error:
            raise Invalid("it is not one of its version") from error
        return msgspec.convert(values, type_, str_keys=True)


def _bounded(data: bytes) -> bytes:
    if len(data) > JSON_BYTES:
        raise Invalid(f"a document of {len(data):,} bytes is no document of tracetw")
    if b"\\ud" in data or b"\\uD" in data:
        return _ESCAPE.sub(_as_text, data)
    return data


@contextmanager
def _told() -> Iterator[None]:
    """What the decoder says, in one plain line that is not too long."""
    try:
        yield
    except RecursionError as error:
        raise Invalid("its JSON nests too deep") from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Invalid(ascii(str(error))[1:-1][:200]) from error


def _as_text(escape: re.Match[bytes]) -> bytes:
    r"""Half a surrogate pair as text: a byte of a name that is no UTF-8 as ``\xNN``."""
    if escape[1] is None:
        return escape[0]
    number = int(escape[1], 16)
    shown = f"x{number - _BYTE_AT:02x}" if number in _BYTES else f"u{number:04x}"
    return b"\\\\" + shown.encode()
