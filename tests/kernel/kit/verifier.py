# SPDX-License-Identifier: Apache-2.0
"""What the verifier had to do for each program, from its own statistics: also of kernels before 5.16.

``bpf_prog_info.verified_insns`` came with Linux 5.16; the log of level 4 with Linux 5.2.
"""

from __future__ import annotations

import ctypes
import re
import struct
from typing import NamedTuple

import pytest

from tracetw.kernel.load import bpf

__all__ = ["Verified", "walked"]

_PROG_LOAD = 5
_STATISTICS = 4  # BPF_LOG_STATS, include/linux/bpf_verifier.h
# union bpf_attr of BPF_PROG_LOAD: log_level, log_size, log_buf; prog_name.
_LOG, _NAME = 24, slice(48, 64)


class Verified(NamedTuple):
    """Instructions walked, of at most a million; bytes of stack, of at most 512."""

    instructions: int
    stack: int


def walked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Verified]:
    """From now on, for each program that is loaded, by the name that the kernel keeps of it."""
    found: dict[str, Verified] = {}
    call = bpf._bpf

    def logged(command: int, attributes: bytes) -> int:
        if command != _PROG_LOAD:
            return call(command, attributes)
        log = ctypes.create_string_buffer(1 << 16)
        asked = bytearray(attributes)
        struct.pack_into("=IIQ", asked, _LOG, _STATISTICS, len(log), ctypes.addressof(log))
        result = call(command, bytes(asked))
        said = re.search(rb"processed (\d+) insns", log.value)
        depth = re.search(rb"stack depth (\d+)", log.value)
        assert said, log.value
        assert depth, log.value
        name = attributes[_NAME].rstrip(b"\0").decode()
        found[name] = Verified(int(said[1]), int(depth[1]))
        return result

    monkeypatch.setattr(bpf, "_bpf", logged)
    return found
