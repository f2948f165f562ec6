# SPDX-License-Identifier: Apache-2.0
"""The short-lived child that compiles.

The only module that loads BCC: LLVM and its 100 MB live and die here. Takes one request on stdin
(JSON: bindings, source, flags, programs), answers on stdout with an image, or fails with the compiler's
words on stderr.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from tracetw.kernel import bindings
from tracetw.kernel.load import atomic
from tracetw.kernel.load.image import Image, MapSpec, abstract
from tracetw.kernel.load.stubs import write_stubs

__all__ = ["main"]


def compile_image(bcc: ModuleType, request: Mapping[str, Any]) -> Image:
    """One translation unit to byte code. Raises whatever BCC raises."""
    module = bcc.BPF(text=request["source"], cflags=[*request["cflags"], atomic.FLAG])
    # The Python classes of tables differ from release to release; the library does not.
    # Nor do all of them say the types of all its functions: without them a pointer would lose its upper half.
    library, handle = bcc.lib, ctypes.c_void_p(module.module)
    library.bpf_table_name.restype = ctypes.c_char_p
    maps, places = [], {}
    for number in range(library.bpf_num_tables(handle)):
        places[library.bpf_table_fd_id(handle, number)] = number
        maps.append(
            MapSpec(
                name=library.bpf_table_name(handle, ctypes.c_size_t(number)).decode(),
                type=library.bpf_table_type_id(handle, number),
                key_size=library.bpf_table_key_size_id(handle, number),
                value_size=library.bpf_table_leaf_size_id(handle, number),
                max_entries=library.bpf_table_max_entries_id(handle, number),
                flags=library.bpf_table_flags_id(handle, number),
            )
        )
    return Image(
        tuple(maps),
        {
            name: abstract(atomic.expand(module.dump_func(name.encode())), places)
            for name in request["programs"]
        },
    )


def _bindings(folder: Path) -> ModuleType:
    """BCC. If its import fails, write why to stderr and exit with bindings.UNUSABLE."""
    try:
        return bindings.load(folder)
    except Exception as error:  # noqa: BLE001 - it is code of others
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        sys.exit(bindings.UNUSABLE)


def main() -> None:
    """Serve one request. The answer keeps clear of what the compiler prints on stdout."""
    answer = os.dup(1)
    os.dup2(2, 1)
    request = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as folder:
        write_stubs(Path(folder))
        # BCC looks for kernel headers when it compiles.
        os.environ["BCC_KERNEL_SOURCE"] = folder
        data = compile_image(_bindings(Path(request["bindings"])), request).dump()
    with os.fdopen(answer, "wb") as stream:
        stream.write(data)
    # Unloading LLVM takes longer than leaving.
    os._exit(0)


if __name__ == "__main__":
    main()
