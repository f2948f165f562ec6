# SPDX-License-Identifier: Apache-2.0
"""The reader of BTF, on types compiled here and on the running kernel's."""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from tracetw.kernel.btf import VMLINUX, Btf, BtfError, Field

ENUM, ENUM64 = 6, 19
SOURCE = """
typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32;
typedef unsigned long long u64;
enum colour { RED = 1, BLUE = 2 };
enum shade { DARK = 7, LIGHT = 4000000000 };
enum { LONELY = 42, OTHER } single;
struct inner { u16 first; u32 second; };
struct outer {
	u8 lead;
	union { u32 word; struct { u16 low; u16 high; }; };
	struct inner nested;
	const struct inner *to;
	u32 row[5];
	struct inner grid[2][3];
	u32 flag:1, three:3, rest:28;
	u8 early:2, late:6;
	volatile enum colour paint;
};
typedef void (*btf_trace_three)(void *, struct outer *, int, const u32 *);
typedef void (*btf_trace_none)(void *);
struct outer o; enum colour c; enum shade s;
btf_trace_three t; btf_trace_none n;
int lonely(void) { return LONELY + o.lead; }
"""


def btf_section(elf: bytes) -> bytes:
    """Contents of ``.BTF`` of a little-endian ELF64 file."""
    (table,) = struct.unpack_from("<Q", elf, 0x28)
    size, count, names = struct.unpack_from("<HHH", elf, 0x3A)
    rows = [struct.unpack_from("<IIQQQQ", elf, table + size * at) for at in range(count)]
    for name, _, _, _, offset, length in rows:
        begin = rows[names][4] + name
        if elf[begin : elf.index(b"\0", begin)] == b".BTF":
            return elf[offset : offset + length]
    raise LookupError(".BTF")


@pytest.fixture(scope="module")
def blob(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    if shutil.which("clang") is None and os.environ.get("CI") != "true":
        pytest.skip("needs clang")
    out = tmp_path_factory.mktemp("btf") / "types.o"
    command = ["clang", "-target", "bpf", "-g", "-c", "-x", "c", "-", "-o", str(out)]
    subprocess.run(command, input=SOURCE.encode(), check=True, capture_output=True)
    return btf_section(out.read_bytes())


@pytest.fixture(scope="module")
def btf(blob: bytes) -> Btf:
    return Btf(blob)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("outer.lead", Field(0, 1, pointer=False)),
        ("outer.word", Field(4, 4, pointer=False)),
        ("outer.high", Field(6, 2, pointer=False)),
        ("outer.nested", Field(8, 8, pointer=False)),
        ("outer.nested.second", Field(12, 4, pointer=False)),
        ("outer.to", Field(16, 8, pointer=True)),
        ("outer.row", Field(24, 20, pointer=False)),
        ("outer.grid", Field(44, 48, pointer=False)),
        ("outer.flag", Field(92, 4, pointer=False, bit_offset=0, bit_size=1)),
        ("outer.three", Field(92, 4, pointer=False, bit_offset=1, bit_size=3)),
        ("outer.rest", Field(92, 4, pointer=False, bit_offset=4, bit_size=28)),
        ("outer.early", Field(96, 1, pointer=False, bit_offset=0, bit_size=2)),
        ("outer.late", Field(96, 1, pointer=False, bit_offset=2, bit_size=6)),
        ("outer.paint", Field(100, 4, pointer=False)),
    ],
)
def test_a_field_is_where_the_compiler_put_it(btf: Btf, path: str, expected: Field) -> None:
    assert btf.field(path) == expected
    assert btf.has_field(path)


@pytest.mark.parametrize(
    "path", ["outer.nothing", "nobody.x", "outer.nested.third", "outer.lead.x"]
)
def test_a_field_that_does_not_exist_is_told(btf: Btf, path: str) -> None:
    assert not btf.has_field(path)
    with pytest.raises(BtfError):
        btf.field(path)


def test_members_name_their_base_types(btf: Btf) -> None:
    assert [(name, base) for name, _, base in btf.members("inner")] == [
        ("first", "u16"),
        ("second", "u32"),
    ]
    assert ("row", "u32") in [(name, base) for name, _, base in btf.members("outer")]


def test_sizes_and_numbers(btf: Btf) -> None:
    assert btf.size("inner") == 8
    assert btf.size("outer") == 104
    assert btf.number("inner") != btf.number("outer")
    assert btf.has("outer")
    assert btf.has("colour")
    assert btf.has("u32")
    assert not btf.has("nobody")
    with pytest.raises(BtfError):
        btf.size("nobody")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("colour", {"RED": 1, "BLUE": 2}),
        ("shade", {"DARK": 7, "LIGHT": 4_000_000_000}),
    ],
)
def test_values_of_an_enum(btf: Btf, name: str, expected: dict[str, int]) -> None:
    assert btf.enum(name) == expected


@pytest.mark.parametrize(
    ("kind", "signed", "rows", "expected"),
    [
        (ENUM, True, [(1, 7), (5, 0xFFFFFFFE)], {"ONE": 7, "TWO": -2}),
        (ENUM, False, [(1, 7), (5, 0xFFFFFFFE)], {"ONE": 7, "TWO": 0xFFFFFFFE}),
        (ENUM64, False, [(1, 7, 0), (5, 0x9A, 0x12)], {"ONE": 7, "TWO": 0x120000009A}),
        (ENUM64, True, [(1, 7, 0), (5, 0xFFFFFFFE, 0xFFFFFFFF)], {"ONE": 7, "TWO": -2}),
    ],
    ids=["signed", "unsigned", "64-bit", "64-bit-signed"],
)
def test_what_older_compilers_do_not_write(
    kind: int, *, signed: bool, rows: list[tuple[int, ...]], expected: dict[str, int]
) -> None:
    """Signs and 64 bits of enums came with LLVM 15, so these are put together here."""
    words = [9, kind << 24 | signed << 31 | len(rows), 8 if kind == ENUM64 else 4]
    words += [word for row in rows for word in row]
    types = struct.pack(f"={len(words)}I", *words)
    names = b"\0ONE\0TWO\0choice\0"
    header = struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(names))
    assert Btf(header + types + names).enum("choice") == expected


def test_an_enum_without_a_name_is_found_by_a_member(btf: Btf) -> None:
    assert btf.enum_with("LONELY") == {"LONELY": 42, "OTHER": 43}
    with pytest.raises(BtfError):
        btf.enum_with("NOBODY")
    with pytest.raises(BtfError):
        btf.enum("nobody")


def test_the_arguments_of_a_tracepoint(btf: Btf) -> None:
    assert btf.tracepoint_args("three") == 3
    assert btf.tracepoint_args("none") == 0
    assert btf.tracepoint_args("absent") is None


def test_a_function_is_found_by_name(btf: Btf) -> None:
    assert btf.function("lonely")
    assert btf.function("outer") is None
    assert btf.function("absent") is None


@pytest.mark.parametrize(
    "bad",
    [b"", b"\x9f\xeb", bytes(64), b"\xeb\x9f\x01\x00" + bytes(20), b"\x9f\xeb\x02\x00" + bytes(20)],
    ids=["empty", "cut", "zeros", "other-endian", "version-2"],
)
def test_what_is_no_btf_is_refused(bad: bytes) -> None:
    with pytest.raises(BtfError):
        Btf(bad)


def outcome(blob: bytes) -> str:
    """What a reader makes of a blob: every question that the planner asks."""
    try:
        btf = Btf(blob)
        btf.field("outer.nested.second")
        btf.size("outer")
        btf.enum("colour")
        btf.enum_with("LONELY")
        btf.tracepoint_args("three")
        btf.function("lonely")
        btf.members("outer")
    except BtfError:
        return "refused"
    return "read"


@pytest.mark.parametrize("kept", [24, 25, 26, 30, 100, 401, 700, -1])
def test_a_blob_cut_short_is_refused(blob: bytes, kept: int) -> None:
    assert outcome(blob[:kept]) == "refused"


def test_a_section_length_beyond_the_end_is_refused(blob: bytes) -> None:
    # type_len and str_len, at 12 and 20 of the header
    for at in (12, 20):
        damaged = bytearray(blob)
        struct.pack_into("=I", damaged, at, 1 << 30)
        assert outcome(bytes(damaged)) == "refused"


@pytest.mark.timeout(5)
def test_damage_raises_nothing_but_its_own_error(blob: bytes) -> None:
    for at in range(24, len(blob), 7):
        damaged = bytearray(blob)
        damaged[at] ^= 0xFF
        assert outcome(bytes(damaged)) in ("read", "refused")


@pytest.mark.timeout(5)
def test_a_typedef_of_itself_ends(blob: bytes) -> None:
    """Every reference turned to the type itself: no endless loop."""
    header, type_off, type_len = struct.unpack_from("=III", blob, 4)
    words = list(struct.unpack_from(f"={type_len // 4}I", blob, header + type_off))
    typedef = next((at, number) for at, number in _types(words) if words[at + 1] >> 24 & 31 == 8)
    words[typedef[0] + 2] = typedef[1]
    damaged = bytearray(blob)
    struct.pack_into(f"={len(words)}I", damaged, header + type_off, *words)
    assert outcome(bytes(damaged)) in ("read", "refused")


def _types(words: list[int]) -> list[tuple[int, int]]:
    """(word offset, id) of every type up to the first that has members or more."""
    found, at, number = [], 0, 1
    extra = {1: 1, 3: 3, 14: 1, 17: 1}
    per = {4: 3, 5: 3, 6: 2, 13: 2, 15: 3, 19: 3}
    while at < len(words):
        kind, count = words[at + 1] >> 24 & 31, words[at + 1] & 0xFFFF
        found.append((at, number))
        at += 3 + extra.get(kind, 0) + per.get(kind, 0) * count
        number += 1
    return found


readable = pytest.mark.skipif(
    not os.access(VMLINUX, os.R_OK), reason="needs the running kernel's BTF"
)


@readable
def test_the_running_kernel() -> None:
    btf = Btf.read()
    assert btf.field("sock_common.skc_daddr") == Field(0, 4, pointer=False)
    assert btf.field("sock.sk_socket").pointer
    assert btf.tracepoint_args("inet_sock_set_state") == 3
    assert btf.enum_with("TCP_ESTABLISHED")["TCP_CLOSING"] == 11
    assert btf.size("sock_common") >= 100
    assert btf.field("tcp_sock.snd_una").offset > btf.size("inet_connection_sock") - 8


@readable
def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Btf.read(tmp_path / "none")
