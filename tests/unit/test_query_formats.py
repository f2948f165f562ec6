# SPDX-License-Identifier: Apache-2.0
"""Every type of DuckDB in every format, and results of any length."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.unit.recording_files import GOLDEN
from tracetw.cli import main

pytest.importorskip("duckdb")
pytest.importorskip("pyarrow")

ROOT = Path(__file__).parents[2]
RECORDING = str(GOLDEN / "v1" / "raw")
MOST_MB = 512

VALUES: dict[str, Any] = {
    "[1, 2]": [1, 2],
    "[NULL, 'a']": [None, "a"],
    "[1.5, 'nan'::DOUBLE, 'inf'::DOUBLE]": [1.5, None, None],
    "{'a': 1, 'b': {'c': [2]}}": {"a": 1, "b": {"c": [2]}},
    "{'at': DATE '2026-01-02', 'n': 'nan'::DOUBLE}": {"at": "2026-01-02", "n": None},
    "MAP {'k': 1}": {"k": 1},
    "array_value(1, 2)": [1, 2],
    "union_value(k := 1)": {"k": 1},
    "'{\"a\": [1, null]}'::JSON": {"a": [1, None]},
    "'nan'::DOUBLE": None,
    "'-inf'::FLOAT": None,
    "1.5::DOUBLE": 1.5,
    "1.50::DECIMAL(9, 2)": 1.5,
    "7::DECIMAL(9, 2)": 7,
    "0.12345678901234567890::DECIMAL(38, 20)": "0.12345678901234567890",
    "123456789012345678901234567890::HUGEINT": 123456789012345678901234567890,
    "18446744073709551615::UBIGINT": 18446744073709551615,
    "sum(1) OVER ()": 1,
    "true": True,
    "NULL": None,
    "DATE '2026-01-02'": "2026-01-02",
    "DATE '290000-01-01'": "290000-01-01",
    "TIMESTAMP '2026-01-02 03:04:05.123456'": "2026-01-02 03:04:05.123456",
    "TIMESTAMP_NS '2026-01-02 03:04:05.123456789'": "2026-01-02 03:04:05.123456789",
    "TIMESTAMP 'infinity'": "infinity",
    "TIME '10:00:00'": "10:00:00",
    "INTERVAL 3 DAY": "3 days",
    "'x\\x00\\xff'::BLOB": "x\\x00\\xFF",
    "'101'::BIT": "101",
    "'a'::ENUM('a', 'b')": "a",
    "'00000000-0000-0000-0000-000000000001'::UUID": "00000000-0000-0000-0000-000000000001",
    "'ä\"\\,'": 'ä"\\,',
}


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path


def ask(sql: str, form: str, *options: str) -> Result:
    arguments = ["query", RECORDING, sql, "-o", form, *options]
    return CliRunner().invoke(main, arguments, catch_exceptions=False)


def strict(text: str) -> Any:
    return json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def everything() -> str:
    return "SELECT " + ", ".join(f"{sql} AS c{at}" for at, sql in enumerate(VALUES))


def test_json_of_every_type() -> None:
    result = ask(everything(), "json")
    assert result.exit_code == 0, result.output
    row = strict(result.stdout)
    for at, (sql, value) in enumerate(VALUES.items()):
        assert row[f"c{at}"] == value, sql


def test_csv_of_every_type() -> None:
    result = ask(everything(), "csv")
    assert result.exit_code == 0, result.output
    heads, cells = csv.reader(io.StringIO(result.stdout))
    assert len(heads) == len(cells) == len(VALUES)
    row = dict(zip(VALUES, cells, strict=True))
    assert row["[1, 2]"] == "[1, 2]"
    assert row["NULL"] == ""
    assert row["INTERVAL 3 DAY"] == "3 days"
    assert row["'ä\"\\,'"] == 'ä"\\,'


@pytest.mark.parametrize("form", ["table", "parquet"])
def test_other_formats_of_every_type(form: str, base: Path) -> None:
    target = base / "out"
    result = ask(everything(), form, "--to", str(target))
    assert result.exit_code == 0, result.output
    if form == "parquet":
        from pyarrow import parquet  # noqa: PLC0415

        table = parquet.read_table(target)
        assert (table.num_rows, table.num_columns) == (1, len(VALUES))
    else:
        assert "3 days" in target.read_text()


@pytest.mark.parametrize("form", ["table", "csv", "json", "parquet"])
@pytest.mark.parametrize(
    "sql", ["SELECT 1 AS n WHERE false", "SELECT 1 AS n, 2 AS n", 'SELECT 1 AS "a""b c"']
)
def test_odd_shapes(form: str, sql: str) -> None:
    result = ask(sql, form)
    assert result.exit_code == 0, result.output
    if form == "json" and ", 2" in sql:
        assert strict(result.stdout) == {"n": 1, "n_1": 2}


def test_a_long_table_has_its_head_again() -> None:
    result = ask("SELECT range AS number FROM range(20000)", "table")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert sum(line.strip() == "number" for line in lines) > 1
    assert sum(line.strip().isdigit() for line in lines) == 20_000


@pytest.mark.parametrize(
    ("form", "count"), [("csv", 10_000_000), ("json", 2_000_000), ("parquet", 10_000_000)]
)
def test_long_results_take_no_more_memory(form: str, count: int, base: Path) -> None:
    """In a process of its own, which says at its end how much it held at most."""
    columns = "range AS number, hash(range) AS h, 'text ' || range AS t"
    sql = f"SELECT {columns} FROM range({count})"  # noqa: S608 (numbers of ours)
    code = (
        "import pathlib, sys\n"
        "from tracetw.cli import main\n"
        "code = main(sys.argv[1:], standalone_mode=False)\n"
        "lines = pathlib.Path('/proc/self/status').read_text().splitlines()\n"
        "print(*(line for line in lines if 'VmHWM' in line), file=sys.stderr)\n"
        "sys.exit(code)\n"
    )
    with (base / "out").open("wb") as out:
        done = subprocess.run(
            [sys.executable, "-c", code, "query", RECORDING, sql, "-o", form],
            cwd=ROOT, stdout=out, stderr=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
    assert int(done.stderr.split()[-2]) < MOST_MB * 1024
    if form != "parquet":
        with (base / "out").open("rb") as lines:
            assert sum(1 for _ in lines) == count + (form == "csv")


def test_a_result_that_is_too_large_to_sort_is_one_line() -> None:
    sql = "SELECT list(range) AS l FROM range(200000000)"
    result = ask(sql, "csv")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
