# SPDX-License-Identifier: Apache-2.0
"""What is said when a package is not installed, and when it is and does not work."""

from __future__ import annotations

import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tracetw import extras, isolated
from tracetw.cli import needs
from tracetw.errors import CannotTrace

if sys.version_info >= (3, 11):
    import tomllib
else:
    from pip._vendor import tomli as tomllib

ROOT = Path(__file__).parents[2]
# What numpy says to a module that was compiled for its next version; it goes on for 20 lines.
WORDS = "\nnumpy.core.multiarray failed to import\n\nA module that was compiled"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An ``__init__.py`` of a package that can be found."""
    (tmp_path / "arrowlike").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "arrowlike", raising=False)
    return tmp_path / "arrowlike" / "__init__.py"


def refusal(module: str) -> str:
    with pytest.raises(CannotTrace) as caught:
        extras.load(module, "recording", "this")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_is_not_installed() -> None:
    assert refusal("no_such_package") == (
        "this needs no_such_package, which is not installed; pip install 'tracetw[recording]'"
    )


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"raise ImportError({WORDS!r})", "numpy.core.multiarray failed to import A module that"),
        ("import no_such_package", "No module named 'no_such_package'"),
        ("import numpy\nnumpy.no_such_thing", "no_such_thing"),
        ("raise RuntimeError", "RuntimeError"),
    ],
)
def test_what_does_not_import_says_why_in_its_own_words(
    package: Path, text: str, says: str
) -> None:
    package.write_text(text)
    message = refusal("arrowlike")
    assert message.startswith("this needs arrowlike, which is installed and cannot be imported: ")
    assert says in message
    assert message.endswith("; pip install --force-reinstall 'tracetw[recording]'")
    assert "None" not in message


def test_an_endless_message_is_cut(package: Path) -> None:
    package.write_text("raise ImportError('x' * 100_000)")
    assert len(refusal("arrowlike")) < 600


def test_pipx_has_a_way_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "pipx_metadata.json").touch()
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert extras.install("query") == "pipx install --force 'tracetw[query]'"


@pytest.mark.parametrize("extra", extras.EXTRAS)
def test_where_it_was_installed_by_pip_the_command_is_said(
    extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(needs, "in_checkout", lambda: False)
    monkeypatch.setattr(extras, "missing", lambda _: ["one", "two"])
    with pytest.raises(CannotTrace, match="tracetw x needs one and two") as caught:
        needs.need(extra, "x")
    assert caught.value.hint == f"pip install 'tracetw[{extra}]'"
    assert caught.value.exit_code == 3


def test_a_base_package_that_does_not_import_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy" / "__init__.py").write_text(f"raise ImportError({WORDS!r})")
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]; import tracetw.cli as c"
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"{code}; c.main(['report', '/nonexistent'])"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert done.stderr.startswith("tracetw: a package that tracetw needs cannot be imported: numpy")
    assert len(done.stderr.splitlines()) == 1


def test_the_extras_are_those_of_the_project_and_of_the_set_up() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)["project"]
    wanted = project["optional-dependencies"]
    for extra, modules in extras.EXTRAS.items():
        names = {re.split(r"[^a-z]", each)[0] for each in wanted[extra]}
        assert names == set(modules)
    setup = (ROOT / "scripts" / "setup.bash").read_text(encoding="utf-8")
    for table in ("purpose", "megabytes", "modules"):
        (body,) = re.findall(rf"declare -A {table}=\((.*?)\n\)", setup, re.DOTALL)
        assert set(re.findall(r"\[(\w+)\]=", body)) == {"base", *wanted}


def test_children_are_isolated(tmp_path: Path) -> None:
    """Neither the home folder nor PYTHON* nor the current folder have code run in them."""
    trap = "open(__import__('os').environ['TRAP'], 'w').close()\n"
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    home = tmp_path / "home" / ".local" / "lib" / version / "site-packages"
    for folder in (home, tmp_path / "path", tmp_path / "here"):
        folder.mkdir(parents=True)
        for name in ("usercustomize", "sitecustomize", "json", "tracetw"):
            (folder / f"{name}.py").write_text(trap)
    env = {
        **isolated.environment(),
        "HOME": str(tmp_path / "home"),
        "PYTHONUSERBASE": str(tmp_path / "home" / ".local"),
        "PYTHONPATH": str(tmp_path / "path"),
        "PYTHONSTARTUP": str(home / "usercustomize.py"),
        "TRAP": str(tmp_path / "sprung"),
    }
    # A virtual environment has no home folder of its own: where tracetw is installed without one, too.
    base = str(Path(sys.executable).resolve())
    for packages, python in itertools.product((True, False), (sys.executable, base)):
        words = isolated.command("tracetw.kernel.load.compiler", packages=packages)
        done = subprocess.run(
            [python, *words[1:]],
            input='{"bindings": "/nonexistent"}',
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path / "here",
            env=env,
        )
        assert done.returncode == 3, done.stderr
    assert not (tmp_path / "sprung").exists()


def test_the_compiler_sees_no_installed_package() -> None:
    code = "import runpy, sys; runpy.run_module = lambda *_, **__: print(*sys.path)"
    words = isolated.command("tracetw.kernel.load.compiler", packages=False)
    at = words.index(str(ROOT / "tracetw" / "isolated.py"))
    begin = f"{code}; import runpy; sys.argv = {words[at:]!r}; exec(open({words[at]!r}).read())"
    done = subprocess.run(
        [*words[:at], "-c", f"__name__ = '__main__'; __file__ = {words[at]!r}\n{begin}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "-packages" not in done.stdout


def test_children_get_no_variable_that_changes_python(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONPATH", "PYTHONHOME", "PYTHONINSPECT", "BCC_KERNEL_SOURCE"):
        monkeypatch.setenv(name, "/nonexistent")
    kept = isolated.environment()
    assert kept["PATH"] == os.environ["PATH"]
    assert not [name for name in kept if name.startswith(("PYTHON", "BCC"))]


# sys.executable begins: an actor of a lab, the tracer under test and the like included.
STARTS = re.compile(r"\[\s*sys\.executable,(?P<rest>[^\]]*)")


@pytest.mark.parametrize(
    "path",
    sorted([*(ROOT / "tracetw").rglob("*.py"), *(ROOT / "scripts").rglob("*.py")]),
    ids=lambda path: str(path.relative_to(ROOT)),
)
def test_every_python_child_is_started_isolated(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for start in STARTS.finditer(text):
        assert '"-I"' in start["rest"] or "*options" in start["rest"], start[0]
