# SPDX-License-Identifier: Apache-2.0
"""Where the ``tracetw`` command begins, and ``python -m tracetw``.

Imports as little as it can: until Ctrl-C is looked after, it would end in a traceback.
"""

from __future__ import annotations

import os
import signal
import sys

_INTERRUPTED = 130


def main() -> None:
    """Run the command line and leave with its exit code."""
    # Ignored it is to stay ignored, as in a background job.
    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if ours:
        signal.signal(signal.SIGINT, lambda _number, _frame: os._exit(_INTERRUPTED))
    # scripts/tracetw blocks it while Python starts.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
    _open_standard_descriptors()
    from tracetw.cli import main as command  # noqa: PLC0415 (after the signal)
    from tracetw.cli.ending import interruptible, named_output  # noqa: PLC0415

    named_output()
    with interruptible(ours=ours) as begin:
        begin()
        code = command(standalone_mode=False)
    sys.exit(code)


def _open_standard_descriptors() -> None:
    """A descriptor 0, 1 or 2 that is closed would become that of the next file, and be written to."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:  # noqa: PLR2004 (stderr)
        os.set_inheritable(number, True)
    os.close(number)
    # print(file=None) means standard output.
    if sys.stderr is None:
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


if __name__ == "__main__":
    main()
