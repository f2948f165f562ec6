# SPDX-License-Identifier: Apache-2.0
"""One translation unit out of the plan and the files of ``bpf/``.

Every file follows a ``#line``, so that a compile error names the real file.
"""

from __future__ import annotations

from pathlib import Path

from tracetw.errors import CannotTrace
from tracetw.kernel.plan import SECOND, Plan


def source_dir() -> Path:
    """The folder of the BPF sources: in the wheel ``tracetw/_bpf``, in a checkout ``bpf``.

    Raises CannotTrace when neither is there.
    """
    package = Path(__file__).resolve().parent.parent
    for folder in (package / "_bpf", package.parent / "bpf"):
        if (folder / "record.h").is_file():
            return folder
    raise CannotTrace(
        f"the BPF sources are missing beside {package}", "install tracetw again, as a whole"
    )


def join(plan: Plan, folder: Path | None = None) -> str:
    """The C text to compile. Raises CannotTrace, OSError when a file is missing."""
    folder = folder or source_dir()
    defines = "\n".join(f"#define {name} {value}" for name, value in plan.macros.items())
    parts = [f"{defines}\n"]
    programs = [name for placed in plan.probes for name in placed.files]
    for name in [*plan.headers, *(f"probes/{program}.c" for program in programs)]:
        if name == "sock.h":
            parts.append(f'#line 1 "generated/facts.h"\n{plan.generated}')
        parts.append(_text(folder, name))
    for hook in plan.hooks:
        parts.append(_text(folder, f"probes/{hook.program}.c"))
        for macro, value in {
            "PROGRAM": hook.program,
            "SECOND": f"{SECOND}{hook.program}",
            "ON": f"on_{hook.program}",
        }.items():
            parts.append(f"#undef {macro}\n#define {macro} {value}")
        parts.append(_text(folder, "hook.c"))
    return "\n".join(parts)


def _text(folder: Path, name: str) -> str:
    return f'#line 1 "bpf/{name}"\n{(folder / name).read_text()}'
