# SPDX-License-Identifier: Apache-2.0
"""How many instructions the verifier walks, from its own statistics: also of kernels before 5.16.

``bpf_prog_info.verified_insns`` came with Linux 5.16; the log of level 4 with Linux 5.2.
"""

from __future__ import annotations

import ctypes
import re
import struct

import pytest

from tracetw.kernel import bpf

__all__ = ["walked"]

_PROG_LOAD = 5
_STATISTICS = 4  # BPF_LOG_STATS, include/linux/bpf_verifier.h
# union bpf_attr of BPF_PROG_LOAD: log_level, log_size, log_buf; prog_name.
_LOG, _NAME = 24, slice(48, 64)


def walked(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """From now on, for each program that is loaded, by the name that the kernel keeps of it."""
    found: dict[str, int] = {}
    call = bpf._bpf

    def logged(command: int, attributes: bytes) -> int:
        if command != _PROG_LOAD:
            return call(command, attributes)
        log = ctypes.create_string_buffer(1 << 16)
        asked = bytearray(attributes)
        struct.pack_into("=IIQ", asked, _LOG, _STATISTICS, len(log), ctypes.addressof(log))
        result = call(command, bytes(asked))
        said = re.search(rb"processed (\d+) insns", log.value)
        assert said, log.value
        found[attributes[_NAME].rstrip(b"\0").decode()] = int(said[1])
        return result

    monkeypatch.setattr(bpf, "_bpf", logged)
    return found
