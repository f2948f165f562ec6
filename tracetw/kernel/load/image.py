# SPDX-License-Identifier: Apache-2.0
"""Compiled programs and the maps they use, before the kernel has seen them; and their loading.

An image is plain data: it can come from the compiler or from the cache. Loading it needs neither
BCC nor LLVM, only bpf(2).
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import resource
import struct
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from importlib.util import source_hash

from tracetw.kernel.attach_point import AttachPoint, AttachType
from tracetw.kernel.load import attachment, bpf
from tracetw.kernel.load.programs import Refused, load_all

__all__ = ["Image", "MapSpec", "hashed", "instantiate"]

# struct bpf_insn: BPF_LD | BPF_IMM | BPF_DW with source register BPF_PSEUDO_MAP_FD; a call, and
# the source register that marks a kfunc.
_LOAD_64, _MAP_FD = 0x18, 1
_CALL, _KFUNC = 0x85, 2
_INSTRUCTION = struct.Struct("=BBhi")


@dataclass(frozen=True, slots=True)
class MapSpec:
    """What BPF_MAP_CREATE needs. Sizes in bytes."""

    name: str
    type: int
    key_size: int
    value_size: int
    max_entries: int
    flags: int


@dataclass(frozen=True, slots=True)
class Image:
    """Maps, and for each program its byte code, in which a map is named by its place in ``maps``."""

    maps: tuple[MapSpec, ...]
    programs: Mapping[str, bytes]

    def dump(self) -> bytes:
        """As text, with a digest."""
        content = {
            "maps": [asdict(spec) for spec in self.maps],
            "programs": {
                name: base64.b64encode(code).decode() for name, code in self.programs.items()
            },
        }
        text = json.dumps(content, sort_keys=True)
        return json.dumps({"hash": hashed(text), "content": content}, sort_keys=True).encode()

    @classmethod
    def parse(cls, data: bytes) -> Image:
        """From :meth:`dump`. Raises ValueError when it is not whole."""
        try:
            outer = json.loads(data)
            content = outer["content"]
            text = json.dumps(content, sort_keys=True)
            if hashed(text) != outer["hash"]:
                raise ValueError("hash does not match")
            return cls(
                tuple(MapSpec(**spec) for spec in content["maps"]),
                {name: base64.b64decode(code) for name, code in content["programs"].items()},
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a compiled image: {error!r}") from error


def hashed(text: str) -> str:
    """64 bits of a text, in hexadecimal: enough among a few images of one's own.

    SipHash, with which Python knows its compiled files: hashlib would map 3.5 MB of OpenSSL for good.
    """
    return source_hash(text.encode()).hex()


def abstract(code: bytes, places: Mapping[int, int]) -> bytes:
    """Byte code with map descriptors replaced by places in ``maps``."""
    return _rewrite(code, places, call=-1, function=0)


def _rewrite(code: bytes, maps: Mapping[int, int], *, call: int, function: int) -> bytes:
    patched = bytearray(code)
    at = 0
    while at < len(patched):
        opcode, registers, offset, number = _INSTRUCTION.unpack_from(patched, at)
        if opcode == _LOAD_64 and registers >> 4 == _MAP_FD:
            _INSTRUCTION.pack_into(patched, at, opcode, registers, offset, maps[number])
        elif (opcode, registers, number) == (_CALL, 0, call):
            _INSTRUCTION.pack_into(patched, at, _CALL, _KFUNC << 4, 0, function)
        at += 16 if opcode == _LOAD_64 else 8
    return bytes(patched)


def instantiate(
    image: Image,
    points: Iterable[AttachPoint],
    contents: Mapping[str, bytes],
    *,
    call: int,
    function: int,
) -> dict[str, int]:
    """Create the maps, fill and freeze some, load and attach the programs, in this order.

    Args:
        image: what was compiled.
        points: the programs, and where each goes.
        contents: map to what it holds; frozen, so that the verifier takes it for constants.
        call: helper number that stands for the kfunc.
        function: BTF id of the kfunc; 0 when the image has no such call.

    Returns:
        Descriptors by ``map:NAME``, ``program:NAME`` and ``link:NAME``; the caller owns them.

    Raises OSError, Refused of a program; then it has closed what it opened.
    """
    # Maps and programs are charged to it before v5.11 (then to the memory cgroup).
    with contextlib.suppress(OSError, ValueError):
        unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
        resource.setrlimit(resource.RLIMIT_MEMLOCK, unlimited)
    held: dict[str, int] = {}
    try:
        for spec in image.maps:
            _create(spec, image, held)
        for name, content in contents.items():
            bpf.fill_and_freeze(held[f"map:{name}"], content)
        numbers = {number: held[f"map:{spec.name}"] for number, spec in enumerate(image.maps)}
        points = list(points)
        # Tracepoint programs first, so that an error common to all is reported for a program that is required.
        ordered = sorted(points, key=lambda point: point.type is not AttachType.RAW_TRACEPOINT)
        work = [
            (point, _rewrite(image.programs[point.program], numbers, call=call, function=function))
            for point in ordered
        ]
        held |= {f"program:{name}": fd for name, fd in load_all(work).items()}
        for point in points:
            try:
                link = attachment.attach(point, held[f"program:{point.program}"])
            except OSError as error:
                raise Refused.of(point.program, error) from error
            held[f"link:{point.program}"] = link
    except BaseException:
        for fd in held.values():
            os.close(fd)
        raise
    return held


def _create(spec: MapSpec, image: Image, held: dict[str, int]) -> None:
    """Create a map. An array of maps NAME_of has NAME, which comes before it, and more like that."""
    shape = (spec.type, spec.key_size, spec.value_size, spec.max_entries, spec.flags)
    if spec.type != bpf.ARRAY_OF_MAPS:
        held[f"map:{spec.name}"] = bpf.create_map(spec.name, shape)
        return
    name = spec.name.removesuffix("_of")
    like = next(one for one in image.maps if one.name == name)
    first = held[f"map:{name}"]
    outer = held[f"map:{spec.name}"] = bpf.create_map(spec.name, shape, first)
    bpf.put_map(outer, 0, first)
    for place in range(1, spec.max_entries):
        more = replace(like, name=f"{name}{place}")
        _create(more, image, held)
        bpf.put_map(outer, place, held[f"map:{more.name}"])
