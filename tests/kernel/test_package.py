# SPDX-License-Identifier: Apache-2.0
"""What ``python -m build`` makes, installed by pip and by pipx: it works as the checkout does."""

from __future__ import annotations

import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.kernel.kit.checkout import (
    BINDINGS,
    NO_ROUTE,
    ROOT,
    check_output,
    checkout,
    has_default_route,
    run,
    run_apart,
    tracked,
)

pytestmark = [
    pytest.mark.kernel,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not has_default_route(), reason=NO_ROUTE),
]

PYTHON = "/usr/bin/python3"
CONNECTS = (
    "import socket\n"
    "with socket.create_server(('127.0.0.1', 0)) as server:\n"
    "    for _ in range(20):\n"
    "        with socket.create_connection(server.getsockname()):\n"
    "            server.accept()[0].close()\n"
)


def venv(folder: Path, *options: str) -> Path:
    """A virtual environment of the distribution's Python."""
    made = run(PYTHON, "-I", "-m", "venv", *options, folder)
    assert made.returncode == 0, made.stderr
    return folder


def pip(venv: Path, *words: str | Path) -> None:
    done = run(venv / "bin/python", "-I", "-m", "pip", "install", "--quiet", *words)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """With a space in its path, open to every user."""
    with TemporaryDirectory(prefix="tracetw package ") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture(scope="module")
def source(folder: Path) -> Path:
    return checkout(folder / "source")


@pytest.fixture(scope="module")
def builder(folder: Path) -> Path:
    """A virtual environment with pypa/build and pipx."""
    made = venv(folder / "builder")
    pip(made, "build", "pipx")
    return made


@pytest.fixture(scope="module")
def built(folder: Path, source: Path, builder: Path) -> Path:
    """``python -m build``: an sdist, and a wheel made from it."""
    done = run(builder / "bin/python", "-I", "-m", "build", "--outdir", folder / "dist", source)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "dist"


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (path,) = built.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(folder: Path, wheel: Path) -> Path:
    """The wheel alone, in an environment that sees none of the system's packages."""
    made = venv(folder / "installed here")
    pip(made, wheel)
    return made


@pytest.fixture(scope="module")
def version() -> str:
    (line,) = (
        line
        for line in (ROOT / "tracetw/__init__.py").read_text(encoding="utf-8").splitlines()
        if line.startswith("__version__")
    )
    return f"tracetw {line.split(chr(34))[1]}\n"


def contents(wheel: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_sdist_is_complete(built: Path) -> None:
    """All that is tracked, as it is; so its own tests can run in it."""
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        members = {member.name.partition("/")[2]: member for member in archive if member.isfile()}
        wanted = set(tracked()) - {".git-blame-ignore-revs", ".gitattributes"}
        assert wanted - members.keys() == set()
        assert members.keys() - wanted == {"PKG-INFO"}
        for name in wanted:
            file = archive.extractfile(members[name])
            assert file is not None
            assert file.read() == (ROOT / name).read_bytes(), name
            executable = bool((ROOT / name).stat().st_mode & 0o100)
            assert bool(members[name].mode & 0o100) == executable, name


def test_the_wheel_is_complete(wheel: Path, version: str) -> None:
    """The package, the BPF sources, the manual, the licences, and nothing else."""
    files = contents(wheel)
    wanted = {name: name for name in tracked() if name.startswith("tracetw/")}
    wanted |= {
        name.replace("bpf/", "tracetw/_bpf/", 1): name
        for name in tracked()
        if name.startswith("bpf/")
    }
    wanted |= {
        f"tracetw-{version.split()[1]}.data/data/share/man/man1/{Path(name).name}": name
        for name in tracked()
        if name.startswith("man/")
    }
    found = {name for name in files if ".dist-info/" not in name}
    assert found == wanted.keys()
    for name, origin in wanted.items():
        assert files[name] == (ROOT / origin).read_bytes(), name
    licences = {Path(name).name for name in files if ".dist-info/licenses/" in name}
    assert licences == {"LICENSE", "GPL-2.0-only.txt"}


def test_sdist_and_checkout_build_the_same_wheel(
    folder: Path, source: Path, builder: Path, wheel: Path
) -> None:
    words = ("-m", "build", "--wheel", "--outdir", folder / "direct", source)
    done = run(builder / "bin/python", "-I", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    (direct,) = (folder / "direct").glob("*.whl")
    assert contents(direct) == contents(wheel)


def test_the_requirements_are_those_of_the_extras(wheel: Path) -> None:
    (metadata,) = (data for name, data in contents(wheel).items() if name.endswith("/METADATA"))
    lines = metadata.decode().splitlines()
    assert "Provides-Extra: query" in lines
    assert "Requires-Dist: numpy>=2" in lines
    assert not [line for line in lines if line.startswith("Requires-Dist: bcc")]


def test_every_command_works(installed: Path, version: str, tmp_path: Path) -> None:
    """First with what the wheel needs, then with its extras; nothing of the checkout is there."""
    tracetw = installed / "bin/tracetw"
    (tmp_path / "connects.py").write_text(CONNECTS)
    record, page = tmp_path / "record", tmp_path / "page.html"
    connects = ("--", "python3", "-I", str(tmp_path / "connects.py"))

    check_output(run(tracetw, "--version", cwd=tmp_path), version)
    for words in (["explain", "orderly"], ["doctor"], ["lab", "list"], ["lab", "--help"]):
        done = run(tracetw, *words, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    done = run(tracetw, "trace", "-o", "json", *connects, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count('"kind":"close"') == 40
    done = run(tracetw, "record", "-o", record, *connects, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "segments stay as they are" in done.stderr
    assert "pip install 'tracetw[recording]'" in done.stderr
    done = run(tracetw, "report", record, "--html", page)
    assert done.returncode == 0, done.stderr
    assert run(tracetw, "replay", record).stdout.count("orderly") == 40
    for words, extra in (
        (["query", str(record), "SELECT 1"], "query"),
        (["lab", "run", "linger-0"], "lab"),
    ):
        done = run(tracetw, *words)
        assert done.returncode == 3, done.stderr
        assert f"which is not installed here; pip install 'tracetw[{extra}]'\n" in done.stderr
        assert len(done.stderr.splitlines()) == 1

    wheel = next((installed.parent / "dist").glob("*.whl"))
    pip(installed, f"{wheel}[recording,query,lab]")
    done = run(tracetw, "record", "-o", tmp_path / "compacted", *connects, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("compacted/host=*/hour=*/*.closes.parquet"))
    for path in (record, tmp_path / "compacted"):
        done = run(tracetw, "query", path, "-o", "csv", "SELECT count(*) AS n FROM closes")
        assert done.stdout == '"n"\n40\n', done.stderr
        assert run(tracetw, "replay", path).stdout.count("orderly") == 40
        done = run(tracetw, "report", path, "--html", page)
        assert done.returncode == 0, done.stderr
        assert page.stat().st_size > 10_000
    done = run(tracetw, "lab", "run", "linger-0", "-4")
    assert done.returncode == 0, done.stderr


@pytest.fixture
def traps(tmp_path: Path) -> Path:
    """A folder of modules that must not be imported although their names are right."""
    for name in ("bcc", "click", "json", "numpy", "tracetw"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the wrong one')\n")
    return tmp_path


def test_the_current_folder_has_no_say(installed: Path, traps: Path) -> None:
    done = run(installed / "bin/tracetw", "trace", "--", "true", cwd=traps)
    assert done.returncode == 0, done.stderr


def test_pypis_bcc_beside_the_real_one(installed: Path) -> None:
    """It is passed over where the distribution has BCC, and named where it has not."""
    (site,) = installed.glob("lib/python3*/site-packages")
    (site / "bcc").mkdir()
    (site / "bcc/__init__.py").write_text("raise SystemExit('the wrong one')\n")
    try:
        done = run(installed / "bin/tracetw", "trace", "--", "true")
        assert done.returncode == 0, done.stderr
        hide = f"mount -t tmpfs none {BINDINGS}"
        done = run_apart(hide, installed / "bin/tracetw", "trace", "--", "true")
        assert done.returncode == 3
        assert f"{site}/bcc is another project named bcc" in done.stderr
    finally:
        (site / "bcc/__init__.py").unlink()
        (site / "bcc").rmdir()
    done = run_apart(hide, installed / "bin/tracetw", "trace", "--", "true")
    assert done.returncode == 3
    assert "BCC's Python bindings are not installed; install them: " in done.stderr


def test_in_an_environment_that_sees_the_systems_packages(
    folder: Path, wheel: Path, tmp_path: Path
) -> None:
    """What the system has is too old, and stays out of the way."""
    made = folder / "with those of the system"
    steps = f"""
    mkdir -p {tmp_path}/fake/numpy {tmp_path}/fake/numpy-1.24.2.dist-info {tmp_path}/fake/bcc
    echo 'raise ImportError("the old one")' >{tmp_path}/fake/numpy/__init__.py
    printf 'Metadata-Version: 2.1\\nName: numpy\\nVersion: 1.24.2\\n' >{tmp_path}/fake/numpy-1.24.2.dist-info/METADATA
    mount --bind {BINDINGS}/bcc {tmp_path}/fake/bcc
    mount --rbind {tmp_path}/fake {BINDINGS}
    {PYTHON} -I -m venv --system-site-packages '{made}'
    '{made}/bin/python' -I -m pip install --quiet '{wheel}[recording,query]'
    '{made}/bin/tracetw' record -o {tmp_path}/rec -- true
    '{made}/bin/tracetw' query {tmp_path}/rec "DESCRIBE closes"
    """
    done = run_apart(steps, "true")
    assert done.returncode == 0, done.stderr
    assert "the old one" not in done.stderr


def test_pipx(folder: Path, builder: Path, wheel: Path, version: str) -> None:
    env = {
        "PIPX_HOME": str(folder / "pipx"),
        "PIPX_BIN_DIR": str(folder / "bin"),
        "PIPX_MAN_DIR": str(folder / "man"),
        "HOME": str(folder),
    }
    words = ("install", "--quiet", "--python", PYTHON, wheel)
    done = run(builder / "bin/python", "-I", "-m", "pipx", *words, env=env)
    assert done.returncode == 0, done.stderr
    check_output(run(folder / "bin/tracetw", "--version"), version)
    done = run(folder / "bin/tracetw", "trace", "--", "true")
    assert done.returncode == 0, done.stderr
    done = run(folder / "bin/tracetw", "lab", "run", "linger-0")
    assert "pipx install --force 'tracetw[lab]'" in done.stderr
