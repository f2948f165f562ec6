# SPDX-License-Identifier: Apache-2.0
"""The first file system of a guest: busybox, the modules that lead to the host's files, two scripts."""

from __future__ import annotations

import gzip
import hashlib
import lzma
from collections.abc import Sequence
from pathlib import Path

from scripts.guests.command import run
from scripts.guests.errors import Failed
from scripts.guests.kernel import Kernel
from scripts.guests.newc import archive

_SCRIPTS = {"init": "stage1.sh", "stage2": "stage2.sh"}
_MODULES = ("virtio_pci", "virtio_console", "9p", "9pnet_virtio", "overlay")
_FOLDERS = ("bin", "dev", "lower", "modules", "new", "proc", "sys", "upper")


def build(kernel: Kernel) -> Path:
    """The file, made anew when the scripts have changed. Several checkouts may share a kernel."""
    scripts = {name: Path(__file__).with_name(file).read_bytes() for name, file in _SCRIPTS.items()}
    digest = hashlib.sha256(b"\0".join([*scripts.values(), repr(_MODULES).encode()])).hexdigest()
    path = kernel.folder / f"initrd-{digest[:16]}"
    if path.exists():
        return path
    files = {name: (0o755, text) for name, text in scripts.items()}
    files["bin/busybox"] = (0o755, kernel.busybox.read_bytes())
    order = insertion_order(kernel)
    for module in order:
        files[f"modules/{plain_name(module)}"] = (0o644, unpacked(module))
    files["modules/order"] = (0o644, "\n".join(map(plain_name, order)).encode() + b"\n")
    fresh = path.with_suffix(f".{id(path)}")
    fresh.write_bytes(gzip.compress(archive(files, _FOLDERS), 1))
    fresh.rename(path)
    return path


def insertion_order(kernel: Kernel, modules: Sequence[str] = _MODULES) -> list[Path]:
    """Files of the modules, each after those it needs. What is built in has none."""
    found: dict[Path, None] = {}
    for name in modules:
        options: list[object] = ["--dirname", kernel.folder, "--set-version", kernel.release]
        for line in run(["modprobe", *options, "--show-depends", name]).splitlines():
            word, _, rest = line.partition(" ")
            if word == "insmod":
                found[Path(rest.split()[0])] = None
    return list(found)


def plain_name(module: Path) -> str:
    """Without the suffix of a compression."""
    return module.name.partition(".ko")[0] + ".ko"


def unpacked(module: Path) -> bytes:
    """Its content, as busybox can load it."""
    match module.suffix:
        case ".ko":
            return module.read_bytes()
        case ".xz":
            return lzma.decompress(module.read_bytes())
        case ".gz":
            return gzip.decompress(module.read_bytes())
        case ".zst":
            import pyarrow as pa  # noqa: PLC0415 - may just have been installed

            with pa.input_stream(str(module), compression="zstd") as stream:
                return bytes(stream.read())
    raise Failed(f"{module} is compressed in a way that is not known here", "report it")
