# SPDX-License-Identifier: Apache-2.0
"""The BTF of a kernel that does not run, out of images as a kernel's build makes them."""

from __future__ import annotations

import gzip
import json
import lzma
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.guests.errors import Failed
from scripts.guests.precompile import answers_of
from scripts.guests.survey import DATA
from scripts.guests.vmlinux import btf_of
from tracetw.kernel.attach_point import AttachType

BTF = b"\x9f\xeb\x01\x00 and types"


def elf(*sections: tuple[bytes, bytes]) -> bytes:
    """A 64-bit ELF file with nothing but sections; their names are in the last."""
    names = b"\0" + b"".join(name + b"\0" for name, _ in sections) + b".names\0"
    bodies = [*sections, (b".names", names)]
    header = bytearray(64)
    header[:5] = b"\x7fELF\x02"
    at, table, data = 64, b"", b""
    for name, body in bodies:
        fields = (names.index(name + b"\0"), 1, 0, 0, at, len(body), 0, 0, 0, 0)
        table += struct.pack("<IIQQQQIIQQ", *fields)
        data += body
        at += len(body)
    struct.pack_into("<Q", header, 0x28, at)
    struct.pack_into("<HHH", header, 0x3A, 64, len(bodies), len(bodies) - 1)
    return bytes(header) + data + table


def bzimage(payload: bytes, version: int = 0x20F) -> bytes:
    setup = bytearray(4 * 512)
    setup[0x1F1] = 3
    setup[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", setup, 0x206, version)
    struct.pack_into("<II", setup, 0x248, 100, len(payload))
    return bytes(setup) + b"\xcc" * 100 + payload + b"\xcc" * 100


def zstd(data: bytes) -> bytes:
    pa = pytest.importorskip("pyarrow")
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


def kernel(folder: Path, image: bytes) -> Path:
    path = folder / "vmlinuz"
    path.write_bytes(image)
    return path


@pytest.mark.parametrize(("compress", "words"), [(gzip.compress, 0), (lzma.compress, 1), (zstd, 1)])
def test_btf_is_found(compress: Callable[[bytes], bytes], words: int, tmp_path: Path) -> None:
    whole = elf((b".text", b"code"), (b".BTF_ids", b"ids"), (b".BTF", BTF))
    payload = compress(whole) + struct.pack("<I", len(whole)) * words
    assert btf_of(kernel(tmp_path, bzimage(payload))) == BTF


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (b"", "unpack_from"),
        (bzimage(gzip.compress(b""), version=0x207), "2.08"),
        (bzimage(b"\x02\x21\x4c\x18 lz4"), "02214c18"),
        (bzimage(lzma.compress(b"no ELF")), "no 64-bit ELF"),
        (bzimage(gzip.compress(elf((b".text", b"code")))), "no section .BTF"),
        (bzimage(lzma.compress(elf((b".BTF", BTF))[:80])), "no BTF can be read"),
        (bzimage(gzip.compress(BTF)[:12] + b"\xff" * 40), "no BTF can be read"),
    ],
)
def test_what_has_none_is_said(image: bytes, words: str, tmp_path: Path) -> None:
    with pytest.raises(Failed, match=words):
        btf_of(kernel(tmp_path, image))


def test_answers_are_those_of_the_survey() -> None:
    known = json.loads((DATA / "debian-11.json").read_text(encoding="utf-8"))["capabilities"]
    answers = answers_of([each["slug"] for each in known if each["present"]])
    assert {AttachType.FENTRY, AttachType.KRETPROBE} <= answers.types
    assert not answers.cmpxchg
    assert "reset_flags" in answers.absent
    assert "timewait_packet" not in answers.absent
