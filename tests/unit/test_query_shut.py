# SPDX-License-Identifier: Apache-2.0
"""``query`` asks recordings, and nothing else: no other file, no network, no change."""

from __future__ import annotations

import hashlib
import os
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.unit.recording_files import GOLDEN
from tracetw.cli import main
from tracetw.query import place as place_module
from tracetw.query.place import place, tidy

pytest.importorskip("duckdb")
pytest.importorskip("pyarrow")

RECORDING = str(GOLDEN / "v1" / "raw")
WORDS = "the line that nobody may read"


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """XDG_CACHE_HOME, and a working folder that statements could write to."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    monkeypatch.setattr(place_module, "SYSTEM", tmp_path / "nowhere" / "at" / "all")
    work = tmp_path / "work"
    work.mkdir()
    (work / "secret.txt").write_text(WORDS)
    monkeypatch.chdir(work)
    return cache


def ask(sql: str, *options: str) -> Result:
    return CliRunner().invoke(main, ["query", RECORDING, sql, *options], catch_exceptions=False)


def state(*folders: Path) -> dict[Path, str]:
    files = (file for folder in folders for file in folder.rglob("*") if file.is_file())
    return {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


FORBIDDEN = [
    "SELECT * FROM read_text('{work}/secret.txt')",
    "SELECT * FROM read_csv('{work}/secret.txt')",
    "SELECT * FROM read_blob('{work}/*')",
    "SELECT * FROM read_json('{work}/secret.txt')",
    "SELECT * FROM read_parquet('{work}/secret.txt')",
    "SELECT * FROM sniff_csv('{work}/secret.txt')",
    "FROM '{work}/secret.txt'",
    "FROM 'secret.txt'",
    "FROM '{work}/secret.csv'",
    "FROM read_text('/etc/shadow')",
    "SELECT * FROM glob('{work}/*')",
    "SELECT * FROM query('SELECT * FROM read_text(''/etc/shadow'')')",
    "COPY closes TO '{work}/out.csv'",
    "COPY closes TO '{kept}' (FORMAT parquet)",
    "COPY closes TO '{kept}' (FORMAT parquet, USE_TMP_FILE false)",
    "COPY (SELECT 1) TO '/dev/stdout'",
    "EXPLAIN ANALYZE COPY closes TO '{kept}' (FORMAT parquet, USE_TMP_FILE false)",
    "EXPLAIN (ANALYZE) COPY closes TO '{kept}' (FORMAT parquet, USE_TMP_FILE false)",
    "/* */ EXPLAIN ANALYZE COPY closes TO '{kept}' (FORMAT parquet, USE_TMP_FILE false)",
    "PREPARE p AS COPY closes TO '{kept}' (FORMAT parquet, USE_TMP_FILE false)",
    "ATTACH '{work}/new.db'",
    "ATTACH '/etc/passwd' AS x",
    "USE memory",
    "EXPORT DATABASE '{work}/export'",
    "IMPORT DATABASE '{work}'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "LOAD '{work}/secret.txt'",
    "FORCE INSTALL httpfs FROM 'http://127.0.0.1:{port}'",
    "FROM read_csv('http://127.0.0.1:{port}/x.csv')",
    "FROM 'https://127.0.0.1:{port}/x.parquet'",
    "FROM 's3://127.0.0.1:{port}/x.parquet'",
    "SET enable_external_access = true",
    "SET allowed_paths = ['{work}/secret.txt']",
    "SET lock_configuration = false",
    "RESET lock_configuration",
    "SET memory_limit = '1TB'",
    "PRAGMA memory_limit = '1TB'",
    "PRAGMA database_list",
    "CALL pragma_version()",
    "CREATE TABLE t AS SELECT 1",
    "CREATE SECRET s (TYPE s3)",
    "CREATE OR REPLACE VIEW closes AS SELECT 1",
    "DROP VIEW closes",
    "DELETE FROM closes",
    "INSERT INTO closes SELECT * FROM closes",
    "VACUUM",
    "CHECKPOINT",
    "BEGIN",
    "SELECT 1; COPY closes TO '{work}/out.csv'",
    "SELECT 1; SELECT 2",
    "",
    "   ",
    ";",
    "-- nothing",
    "SELECT getenv('HOME')",
    "SELECT $1",
    "SELECT",
    "SELECT * FROM connection",
    "SELECT * FROM files",
]


@pytest.fixture
def listener() -> Iterator[tuple[int, list[bytes]]]:
    """A port of this host, and what came to it."""
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(60)

        def serve() -> None:
            while True:
                try:
                    with server.accept()[0]:
                        heard.append(b"somebody")
                except OSError:
                    return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1], heard
        server.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def test_no_statement_reads_writes_or_calls_anything_else(
    base: Path, listener: tuple[int, list[bytes]]
) -> None:
    port, heard = listener
    assert ask("SELECT count(*) FROM closes").exit_code == 0
    (kept,) = base.rglob("closes.parquet")
    work = Path.cwd()
    before = state(base, work)
    for statement in FORBIDDEN:
        sql = statement.format(work=work, kept=kept, port=port)
        result = ask(sql)
        assert result.exit_code == 2, (sql, result.output)
        assert result.stdout == "", sql
        assert len(result.stderr.splitlines()) == 1, result.stderr
        assert result.stderr.startswith("tracetw: "), result.stderr
        assert WORDS not in result.output
        assert state(base, work) == before, sql
    assert heard == []


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 1",
        "  select 1 ;",
        "/* a comment */ SELECT 1 -- and one more",
        "WITH a AS (SELECT 1 AS n) SELECT * FROM a",
        "FROM closes LIMIT 1",
        "VALUES (1)",
        "DESCRIBE closes",
        "SUMMARIZE sysctls",
        "SHOW TABLES",
        "PIVOT closes ON verdict USING count(*)",
        "EXPLAIN SELECT * FROM closes",
        "explain analyze SELECT * FROM closes",
        "EXPLAIN (FORMAT JSON) SELECT 1",
    ],
)
def test_what_only_asks_is_answered(sql: str) -> None:
    result = ask(sql)
    assert result.exit_code == 0, result.output
    assert result.stdout


def test_a_forged_cache_is_not_believed(tmp_path: Path) -> None:
    """As one could lie beside a recording, and an index of ours that says nonsense."""
    folder = tmp_path / "given"
    folder.mkdir()
    source = next(Path(RECORDING).rglob("*.tws"))
    (folder / source.name).write_bytes(source.read_bytes())
    forged = folder / ".tracetw-query"
    forged.mkdir()
    for name in ("index-0123456789abcdef.json", "closes.parquet"):
        (forged / name).write_text('{"state": "x", "files": [{"closes": "/etc/passwd"}]}')
    before = state(folder)
    result = CliRunner().invoke(main, ["query", str(folder), "SELECT count(*) AS n FROM closes"])
    assert result.exit_code == 0, result.output
    assert "150" in result.stdout
    assert state(folder) == before


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b'{"state":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"state":"x","keys":["../../../etc"],"damage":[]}',
        b'{"state":1,"keys":{},"damage":null}',
        b"\xff\xfe",
    ],
)
def test_an_index_that_is_none_is_made_again(base: Path, content: bytes) -> None:
    assert ask("SELECT count(*) AS n FROM closes").exit_code == 0
    (index,) = base.rglob("*.json")
    index.write_bytes(content)
    result = ask("SELECT count(*) AS n FROM closes")
    assert result.exit_code == 0, result.output
    assert "150" in result.stdout
    assert index.read_bytes() != content


def test_a_recording_of_which_size_and_time_are_set_back_is_judged_again(tmp_path: Path) -> None:
    path = tmp_path / "one.tws"
    source = next(Path(RECORDING).rglob("*.tws")).read_bytes()
    path.write_bytes(source)
    times = path.stat()
    sql = "SELECT count(*) AS n FROM closes"
    assert "150" in CliRunner().invoke(main, ["query", str(path), sql]).stdout
    damaged = bytearray(source)
    damaged[30_000] ^= 1  # the rows behind it are lost
    path.write_bytes(damaged)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    result = CliRunner().invoke(main, ["query", str(path), sql])
    assert result.exit_code == 0
    assert "150" not in result.stdout
    assert "damaged at byte" in result.stderr


@pytest.mark.parametrize("damage", ["others may write", "a link", "of another user", "a file"])
def test_a_cache_folder_that_is_not_ours_is_not_used(
    base: Path, tmp_path: Path, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if damage == "others may write":
        base.mkdir()
        base.chmod(0o777)
    elif damage == "a link":
        (tmp_path / "others").mkdir()
        (tmp_path / "others").chmod(0o777)
        base.mkdir()
        (base / "tracetw").symlink_to(tmp_path / "others")
    elif damage == "a file":
        base.write_text("")
    else:
        (base / "tracetw").mkdir(parents=True)
        real = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: real + 1)
    result = ask("SELECT count(*) AS n FROM closes")
    assert result.exit_code == 0, result.output
    assert "150" in result.stdout
    assert not [*tmp_path.rglob("*.parquet")]


def test_root_whose_home_is_of_another_user(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with sudo that keeps HOME: the folder of the system is used."""
    base.mkdir()
    base.chmod(0o777)
    system = tmp_path / "system"
    system.mkdir()
    monkeypatch.setattr(place_module, "SYSTEM", system)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with place() as (kept, _):
        assert kept == (system / "tracetw" / "query" if os.getuid() == 0 else kept)
        assert base not in kept.parents


def test_the_cache_is_private_and_bounded(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (base / "tracetw" / "query").mkdir(parents=True, mode=0o755)
    with place() as (kept, short_lived):
        assert kept == base / "tracetw" / "query"
        assert stat.S_IMODE(kept.stat().st_mode) == 0o700
        assert short_lived.parent == kept
        for number in range(4):
            entry = kept / f"{number:064x}"
            entry.mkdir()
            (entry / "closes.parquet").write_bytes(b"x" * 100)
            os.utime(entry, (number, number))
        monkeypatch.setattr(place_module, "MOST_BYTES", 250)
        tidy(kept, {f"{0:064x}"})
        left = {entry.name for entry in kept.iterdir()} - {short_lived.name}
        assert left == {f"{0:064x}", f"{3:064x}"}
    assert not short_lived.exists()


def test_to_writes_a_whole_file_or_none(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    assert ask("SELECT 1 AS n", "-o", "csv", "--to", str(target)).exit_code == 0
    assert target.read_text() == '"n"\n1\n'
    assert stat.S_IMODE(target.stat().st_mode) & 0o027 == 0
    failed = ask("SELECT 1 AS n FROM nowhere", "-o", "csv", "--to", str(target))
    assert failed.exit_code == 2
    assert target.read_text() == '"n"\n1\n'
    assert not [*tmp_path.glob(".out.csv.*")]


@pytest.mark.parametrize("kind", ["link", "fifo", "device", "folder", "missing folder"])
def test_to_takes_no_other_kind_of_file(tmp_path: Path, kind: str) -> None:
    target, victim = tmp_path / "out", tmp_path / "victim"
    victim.write_text("mine")
    if kind == "link":
        target.symlink_to(victim)
    elif kind == "fifo":
        os.mkfifo(target)
    elif kind == "folder":
        target.mkdir()
    elif kind == "device":
        target = Path("/dev/null")
    else:
        target = tmp_path / "nowhere" / "out"
    result = ask("SELECT 1", "-o", "json", "--to", str(target))
    assert result.exit_code in {1, 2}
    assert len(result.stderr.splitlines()) == 1
    assert victim.read_text() == "mine"
