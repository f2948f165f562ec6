# SPDX-License-Identifier: Apache-2.0
"""Which file set a sysctl; the files are anybody's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tracetw.host import sysctld
from tracetw.host.sysctld import Assignment, assignments

A, B = "net.ipv4.tcp_retries2", "net.ipv4.tcp_fin_timeout"


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    for name in ("etc", "lib"):
        (tmp_path / name).mkdir()
    return tmp_path / "etc", tmp_path / "lib"


def found(
    folders: tuple[Path, Path], last: str = "", command_line: str = ""
) -> dict[str, Assignment]:
    return assignments((A, B), [str(each) for each in folders], last, command_line)


def test_the_last_assignment_counts(folders: tuple[Path, Path]) -> None:
    etc, lib = folders
    (lib / "10-a.conf").write_text(f"{A}=3\n{B} = 30\n")
    (etc / "20-b.conf").write_text(f"# {A}=4\n; {A}=4\n-net/ipv4/tcp_retries2 = 5\nno sense\n")
    assert found(folders) == {
        A: Assignment(str(etc / "20-b.conf"), 3, "5"),
        B: Assignment(str(lib / "10-a.conf"), 2, "30"),
    }


def test_a_file_of_the_same_name_hides_another(folders: tuple[Path, Path]) -> None:
    etc, lib = folders
    (lib / "10-a.conf").write_text(f"{A}=3\n")
    (etc / "10-a.conf").symlink_to("/dev/null")
    (lib / "20.conf.rpmsave").write_text(f"{A}=3\n")
    assert found(folders) == {}


def test_a_link_to_sysctl_conf_has_its_place_by_name(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    etc, _ = folders
    last = tmp_path / "sysctl.conf"
    last.write_text(f"{A}=4\n{B}=40\n")
    (etc / "99-sysctl.conf").symlink_to(last)
    (etc / "99-the-end.conf").write_text(f"{A}=5\n")
    known = found(folders, str(last))
    assert known[A] == Assignment(str(etc / "99-the-end.conf"), 1, "5")
    assert known[B] == Assignment(str(etc / "99-sysctl.conf"), 2, "40")


def test_patterns_give_way_to_names(folders: tuple[Path, Path]) -> None:
    etc, _ = folders
    (etc / "1.conf").write_text(f"{A} = 7\nnet.ipv4.tcp_* = 9\n")
    assert {name: each.value for name, each in found(folders).items()} == {A: "7", B: "9"}


def test_sysctl_conf_is_last_and_the_command_line_first(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    line = tmp_path / "cmdline"
    line.write_text(f"quiet sysctl.{A}=2 sysctl.{B}=3 sysctl.\n")
    assert found(folders, command_line=str(line))[A] == Assignment(str(line), 0, "2")
    last = tmp_path / "sysctl.conf"
    last.write_text(f"{A}=6\n")
    (folders[0] / "99.conf").write_text(f"{A}=5\n")
    assert found(folders, str(last), str(line))[A].path == str(last)


def test_hostile_files_cost_nothing(
    folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    etc, _ = folders
    os.mkfifo(etc / "1.conf")
    (etc / "2.conf").mkdir()
    (etc / "3.conf").symlink_to("3.conf")
    (etc / "4.conf").write_bytes(b"\xff\x00\x1b[2J=\n" + f"{A}=\x1b[31m8\n".encode())
    (etc / "5.conf").symlink_to("/dev/zero")
    monkeypatch.setattr(sysctld, "_MOST_LINES", 5)
    (etc / "6.conf").write_text("\n" * 10 + f"{B}=1\n")
    assert found(folders) == {A: Assignment(str(etc / "4.conf"), 2, "\x1b[31m8")}


@pytest.mark.parametrize(
    ("value", "numbers", "same"),
    [
        ("8", (8,), True),
        (" 1024\t65535 ", (1024, 65535), True),
        ("8", (15,), False),
        ("eight", (8,), False),
        ("", (8,), False),
    ],
)
def test_is_it_in_force(value: str, numbers: tuple[int, ...], *, same: bool) -> None:
    assert Assignment("/x", 1, value).matches(numbers) is same


def test_this_host() -> None:
    assert isinstance(assignments((A, B)), dict)
