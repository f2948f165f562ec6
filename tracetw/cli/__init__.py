# SPDX-License-Identifier: Apache-2.0
"""The ``tracetw`` command, its commands, and what the shell completes."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

import click

from tracetw import __version__
from tracetw.cli.completion import completed
from tracetw.cli.ending import outcome
from tracetw.errors import BadInput

# Command to module. A module is loaded when its command runs: most need NumPy, some much more.
_COMMANDS = {
    "trace": "tracetw.cli.trace",
    "top": "tracetw.cli.top",
    "record": "tracetw.cli.record",
    "report": "tracetw.cli.report",
    "replay": "tracetw.cli.replay",
    "query": "tracetw.cli.query",
    "doctor": "tracetw.cli.doctor",
    "timewait": "tracetw.cli.timewait",
    "explain": "tracetw.cli.explain",
    "lab": "tracetw.cli.lab",
    "completion": "tracetw.cli.completion",
}

_COMPLETE = "_TRACETW_COMPLETE"
"""Set by the shell when Tab is pressed: click's name for it."""
_USAGE = 2
_BLAS_THREADS = "OPENBLAS_NUM_THREADS"


class _OneThread:
    """Imports NumPy so that its BLAS, which we never call, starts no thread for each CPU.

    Those would keep every capability when the tracing thread drops its own. The variable is taken back
    at once: a traced command is to see the environment of its user. Commands import NumPy when they run.
    """

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        """That of NumPy, with the variable set while it is loaded."""
        if fullname != "numpy" or _BLAS_THREADS in os.environ:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                os.environ[_BLAS_THREADS] = "1"
                try:
                    execute(module)
                finally:
                    del os.environ[_BLAS_THREADS]

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, _OneThread())


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
        command: click.Command = import_module(_COMMANDS[cmd_name]).command
        return command

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,  # noqa: ANN401
    ) -> Any:  # noqa: ANN401
        """Run a command and leave with its exit code, or return it. A bug shows its traceback."""
        name = prog_name or "tracetw"
        words = sys.argv[1:] if args is None else [*args]
        asked = os.environ.get(complete_var or _COMPLETE)
        if asked:
            code = outcome(lambda: completed(self, asked))
        else:
            code = outcome(lambda: self._invoked(name, words, extra))
        if standalone_mode:
            sys.exit(code)
        return code

    def _invoked(self, name: str, words: list[str], extra: dict[str, Any]) -> Any:  # noqa: ANN401
        with self.make_context(name, words, **extra) as context:
            return self.invoke(context)


@click.group(
    cls=_Commands,
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, "-V", "--version", message="tracetw %(version)s")
@click.pass_context
def main(context: click.Context) -> int | None:
    """Explain why every TCP connection on this host ended.

    \b
    Examples:
      tracetw trace                      one line per finished connection, until Ctrl-C
      tracetw trace --abnormal -o json   only those that went wrong, for a program
      tracetw doctor                     what this kernel lets us see
      tracetw explain abort-unread       what a verdict means and what to do
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help(), err=True)
        return _USAGE
    # Python's answer to a descriptor 1 that is closed. record prints nothing there.
    if sys.stdout is None and context.invoked_subcommand != "record":
        raise BadInput("standard output is closed", "give it a file, a pipe or a terminal")
    return None
