# SPDX-License-Identifier: Apache-2.0
"""The ``tracetw`` command, and the one place where errors become text and exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

import click

from tracetw import __version__, extras
from tracetw.errors import CannotTrace, UserError

__all__ = ["main"]

# Command to module. A module is loaded when its command runs: most need NumPy, some much more.
_COMMANDS = {
    "trace": "tracetw.cli.trace",
    "record": "tracetw.cli.record",
    "report": "tracetw.cli.report",
    "replay": "tracetw.cli.replay",
    "query": "tracetw.cli.query",
    "doctor": "tracetw.cli.doctor",
    "explain": "tracetw.cli.explain",
    "lab": "tracetw.cli.lab",
}

_INTERRUPTED = 130


_BLAS_THREADS = "OPENBLAS_NUM_THREADS"


def _load(module: str) -> click.Command:
    """The click command of a module.

    NumPy's BLAS, which we never call, starts a thread for each CPU when it is imported. Those
    would keep every capability when the tracing thread drops them. The variable is taken back
    at once: a traced command is to see the environment of its user.
    """
    mine = _BLAS_THREADS not in os.environ
    if mine:
        os.environ[_BLAS_THREADS] = "1"
    try:
        command: click.Command = import_module(module).command
        return command
    finally:
        if mine:
            del os.environ[_BLAS_THREADS]


def _say(message: str) -> None:
    """One line for the user; stderr may be gone as well."""
    with suppress(OSError):
        print(f"tracetw: {message}", file=sys.stderr, flush=True)


def _sentence(error: click.UsageError) -> str:
    """Click's message as one line that says where help is."""
    message = " ".join(error.format_message().split()).rstrip(".")
    path = error.ctx.command_path if error.ctx else "tracetw"
    return f"{message}; see {path} --help"


class _Commands(click.Group):
    """Commands that are loaded when named. Each module has its click command as ``command``."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click)
        return list(_COMMANDS)

    def get_command(
        self,
        ctx: click.Context,  # noqa: ARG002 (click)
        cmd_name: str,
    ) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        return _load(_COMMANDS[cmd_name])

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 (what the command returns)
        """Run the command. A reader that has left got what it wanted: that is no error."""
        try:
            result = super().invoke(ctx)
            if sys.stdout is not None:
                sys.stdout.flush()
        except BrokenPipeError:
            # Python flushes once more at its end, and would complain.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        return result

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Run a command and leave with its exit code. A bug still shows its traceback."""
        code = self._run(args, prog_name or "tracetw", complete_var, extra)
        if standalone_mode:
            sys.exit(code)
        return code

    def _run(
        self,
        args: Sequence[str] | None,
        prog_name: str,
        complete_var: str | None,
        extra: dict[str, Any],
    ) -> int:
        try:
            result = super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        except UserError as error:
            _say(str(error))
            return error.exit_code
        except click.UsageError as error:
            _say(_sentence(error))
            return error.exit_code
        except click.ClickException as error:
            _say(error.format_message())
            return error.exit_code
        except ImportError as error:
            if error.name is not None and error.name.startswith("tracetw"):
                raise
            package = (error.name or "numpy").partition(".")[0]
            _say(
                f"a package that tracetw needs cannot be imported: {package}:"
                f" {extras.one_line(error)}; install tracetw again"
            )
            return CannotTrace.exit_code
        except (KeyboardInterrupt, click.Abort):
            return _INTERRUPTED
        return result if isinstance(result, int) else 0


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="tracetw %(version)s")
def main() -> None:
    """Explain why every TCP connection on this host ended.

    \b
    Examples:
      tracetw trace                      one line per finished connection, until Ctrl-C
      tracetw trace --abnormal -o json   only those that went wrong, for a program
      tracetw doctor                     what this kernel lets us see
      tracetw explain abort-unread       what a verdict means and what to do
    """
