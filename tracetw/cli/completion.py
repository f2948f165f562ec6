# SPDX-License-Identifier: Apache-2.0
"""``tracetw completion``: what makes Tab complete commands, options and their values."""

from __future__ import annotations

import os
from contextlib import redirect_stderr, suppress
from io import StringIO
from pathlib import Path

import click

from tracetw.errors import BadInput, Failed

_NAME = "tracetw"
_VARIABLE = "_TRACETW_COMPLETE"
_SHELLS = ("bash", "zsh", "fish")

# Where each shell looks by itself: for everybody, which root installs, and below the home of a user
# ($XDG_DATA_HOME, $XDG_CONFIG_HOME).
_EVERYBODY = {
    "bash": Path("/usr/local/share/bash-completion/completions/tracetw"),
    "zsh": Path("/usr/local/share/zsh/site-functions/_tracetw"),
    "fish": Path("/usr/local/share/fish/vendor_completions.d/tracetw.fish"),
}
_MINE = {
    "bash": ("XDG_DATA_HOME", ".local/share", "bash-completion/completions/tracetw"),
    "zsh": ("XDG_DATA_HOME", ".local/share", "zsh/site-functions/_tracetw"),
    "fish": ("XDG_CONFIG_HOME", ".config", "fish/completions/tracetw.fish"),
}


@click.command("completion", short_help="Complete commands, options and values with Tab.")
@click.argument("shell", required=False, type=click.Choice(_SHELLS), metavar="[SHELL]")
@click.option("--install", is_flag=True, help="Write it where the shell looks for it.")
def command(shell: str | None, install: bool) -> None:
    """Print the completion script of SHELL (bash, zsh or fish; default: that of $SHELL).

    With --install it is written to where that shell finds it: for everybody as root, for yourself
    otherwise. Open a new shell, then press Tab after tracetw, also under sudo.

    \\b
    Examples:
      sudo tracetw completion --install        for your shell and everybody
      tracetw completion zsh --install         for yourself, in zsh
      source <(tracetw completion bash)        in this shell only
    """
    chosen = shell or _own()
    text = _script(chosen)
    if not install:
        click.echo(text, nl=False)
        return
    target = _EVERYBODY[chosen] if os.geteuid() == 0 else _below_home(chosen)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise Failed(
            f"cannot write {target}: {error.strerror}",
            f"print it (tracetw completion {chosen}) and put it where your shell reads it",
        ) from error
    path = f"; add it to fpath before compinit: fpath+=({target.parent})"
    click.echo(f"wrote {target}{path if chosen == 'zsh' and os.geteuid() else ''}")
    click.echo("open a new shell to use it")


def completed(main: click.Command, instruction: str) -> int:
    """What the shell asked for in ``_TRACETW_COMPLETE``. Says nothing where something goes wrong."""
    from click.shell_completion import shell_complete  # noqa: PLC0415 (only for Tab)

    # A message would land in the middle of the line that is being typed.
    with suppress(Exception), redirect_stderr(StringIO()):
        return shell_complete(main, {}, _NAME, _VARIABLE, instruction)
    return 1


def _own() -> str:
    name = Path(os.environ.get("SHELL", "")).name
    if name not in _SHELLS:
        raise BadInput(
            f"no completion for the shell {name!r}" if name else "$SHELL is not set",
            f"name one of {', '.join(_SHELLS)}",
        )
    return name


def _script(shell: str) -> str:
    from click.shell_completion import get_completion_class  # noqa: PLC0415

    from tracetw.cli import main  # noqa: PLC0415 (which has this command)

    found = get_completion_class(shell)
    if found is None:  # click has all three
        raise BadInput(
            f"no completion for the shell {shell!r}", f"name one of {', '.join(_SHELLS)}"
        )
    source = found(main, {}, _NAME, _VARIABLE)
    text = source.source_template % source.source_vars()
    # A value may be a list with commas, which click's script for fish would take apart.
    return text.replace('string split "," $completion', 'string split --max 1 "," $completion')


def _below_home(shell: str) -> Path:
    variable, folder, name = _MINE[shell]
    base = os.environ.get(variable)
    return (Path(base) if base else Path.home() / folder) / name
