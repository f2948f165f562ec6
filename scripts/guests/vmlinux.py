# SPDX-License-Identifier: Apache-2.0
"""The type information (BTF) of a kernel that does not run, out of its compressed image.

Where the payload lies: Documentation/arch/x86/boot.rst, "Payload Offset" and "Payload Length" of protocol 2.08.
"""

from __future__ import annotations

import io
import lzma
import struct
import zlib
from pathlib import Path

from scripts.guests.errors import Failed

_SETUP_SECTS, _MAGIC, _VERSION, _PAYLOAD = 0x1F1, 0x202, 0x206, 0x248
_SECTOR = 512
_WITH_PAYLOAD = 0x208
# Behind the stream the build appends its unpacked size (scripts/Makefile.lib, size_append); gzip's trailer is it.
_SIZE = 4
_ELF, _ELF64 = b"\x7fELF", 2
_SECTION = struct.Struct("<IIQQQQIIQQ")


def btf_of(image: Path) -> bytes:
    """What is ``/sys/kernel/btf/vmlinux`` under a kernel for x86. Raises Failed when it has none that can be read."""
    try:
        return _section(_unpacked(_payload(image.read_bytes())), b".BTF")
    except (ValueError, struct.error, IndexError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise Failed(f"{image}: no BTF can be read from it: {error}", "report it") from error


def _payload(image: bytes) -> bytes:
    (version,) = struct.unpack_from("<H", image, _VERSION)
    if image[_MAGIC : _MAGIC + 4] != b"HdrS" or version < _WITH_PAYLOAD:
        raise ValueError("no bzImage of boot protocol 2.08 or newer")
    offset, length = struct.unpack_from("<II", image, _PAYLOAD)
    begin = (image[_SETUP_SECTS] + 1) * _SECTOR + offset
    return image[begin : begin + length]


def _unpacked(payload: bytes) -> bytes:
    if payload.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMADecompressor().decompress(payload)
    if payload.startswith(b"\x1f\x8b"):
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(payload)
    if payload.startswith(b"\x28\xb5\x2f\xfd"):
        import pyarrow as pa  # noqa: PLC0415 - may just have been installed

        stream = io.BytesIO(payload[:-_SIZE])
        with pa.input_stream(stream, compression="zstd") as unpacked:
            return bytes(unpacked.read())
    raise ValueError(f"compressed in a way that is not known here ({payload[:4].hex()})")


def _section(elf: bytes, name: bytes) -> bytes:
    """Of a 64-bit little-endian ELF file."""
    if not elf.startswith(_ELF) or elf[4] != _ELF64:
        raise ValueError("what is in it is no 64-bit ELF file")
    (begin,) = struct.unpack_from("<Q", elf, 0x28)
    size, count, names = struct.unpack_from("<HHH", elf, 0x3A)
    sections = [_SECTION.unpack_from(elf, begin + size * each) for each in range(count)]
    strings = sections[names][4]
    for at, _, _, _, offset, length, *_ in sections:
        end = elf.index(b"\0", strings + at)
        if elf[strings + at : end] == name:
            return elf[offset : offset + length]
    raise ValueError(f"it has no section {name.decode()}")
