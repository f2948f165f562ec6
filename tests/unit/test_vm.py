# SPDX-License-Identifier: Apache-2.0
"""The parts of scripts/vm that need no virtual machine: packages, command lines, results."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import re
import shlex
import shutil
import subprocess
import threading
from pathlib import Path

import pyarrow as pa
import pytest

from scripts.guests import accelerator, architecture
from scripts.guests.cache import folder, point
from scripts.guests.errors import Failed, Missing
from scripts.guests.guest import Ending
from scripts.guests.hypervisor import Hypervisor, Limits
from scripts.guests.initramfs import plain_name, unpacked
from scripts.guests.job import Job
from scripts.guests.junit import Counts, left_out, read, total
from scripts.guests.kernel import Kernel, arrange
from scripts.guests.machine import PORTS, Machine, Share
from scripts.guests.main import main, parse
from scripts.guests.matrix import Matrix
from scripts.guests.newc import archive
from scripts.guests.output import Prefixed
from scripts.guests.packages import bcc_version, upstream
from scripts.guests.paragraph import dependencies, fields
from scripts.guests.rows import Row, rows
from scripts.guests.table import Result, as_text

ROOT = Path(__file__).parents[2]
ARCH = architecture.Architecture("amd64", "qemu", "qemu-x", ("-machine", "pc"), "some-cpu", "ttyS0")


def test_dependencies_of_a_paragraph() -> None:
    text = (
        "Package: a\nVersion: 1:2-3\nPre-Depends: b (>= 1)\n"
        "Depends: c (= 2) | d [amd64],\n e:any <!nocheck>\nDescription: x\n .\n y\n\nPackage: z\n"
    )
    paragraph = fields(text)
    assert paragraph["Version"] == "1:2-3"
    assert paragraph["Description"] == "x\n .\n y"
    assert dependencies(paragraph) == ["b", "c", "d", "e"]
    assert dependencies({}) == []


def test_upstream_versions(tmp_path: Path) -> None:
    assert upstream("6.1.176-1") == "6.1.176"
    assert upstream("1:0.26.0+ds-1") == "0.26.0"
    assert upstream("6.12.95-1~bpo12+1") == "6.12.95"
    place = tmp_path / "usr" / "lib" / "python3" / "dist-packages" / "bcc" / "version.py"
    place.parent.mkdir(parents=True)
    assert bcc_version(tmp_path) == ""
    place.write_text("__version__ = '0.31.0+ds'\n")
    assert bcc_version(tmp_path) == "0.31.0"
    place.write_bytes(b"\xff")
    assert bcc_version(tmp_path) == ""


@pytest.mark.parametrize("merged", [False, True])
def test_both_layouts_of_kernel_packages(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, merged: bool
) -> None:
    """Up to 6.x the image is in /boot; later it lies beside the modules, below /usr."""
    depmod = tmp_path / "bin" / "depmod"
    depmod.parent.mkdir()
    depmod.write_text('#!/bin/sh\n: >"$2/lib/modules/$3/modules.dep"\n')
    depmod.chmod(0o755)
    monkeypatch.setenv("PATH", f"{depmod.parent}:{os.environ['PATH']}")
    raw = tmp_path / "raw"
    modules = raw / ("usr/lib/modules/7.2-x" if merged else "lib/modules/7.2-x")
    image = modules / "vmlinuz" if merged else raw / "boot" / "vmlinuz-7.2-x"
    busybox = raw / ("usr/bin/busybox" if merged else "bin/busybox")
    for path in (modules / "kernel" / "a.ko", image, busybox):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(path.name)
    modules.joinpath("build").symlink_to("/usr/src/nowhere")
    arrange(raw, tmp_path / "6.1-1")
    kernel = Kernel.at(tmp_path / "6.1-1")
    assert (kernel.release, kernel.version) == ("7.2-x", "6.1-1")
    assert kernel.image.read_text() == image.name
    assert kernel.busybox.read_text() == "busybox"
    assert not kernel.modules.joinpath("7.2-x", "build").is_symlink()


def test_a_kernel_that_is_not_whole(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="holds no whole kernel; remove that folder"):
        Kernel.at(tmp_path)
    with pytest.raises(Failed, match="hold 0 times a folder of modules"):
        arrange(tmp_path, tmp_path / "made")


def test_an_initramfs_is_what_cpio_reads() -> None:
    if shutil.which("cpio") is None:
        assert "CI" not in os.environ, "cpio is not installed"
        pytest.skip("cpio is not installed")
    data = archive({"init": (0o755, b"#!x"), "bin/b": (0o644, b"four")}, ("bin", "dev"))
    assert len(data) % 4 == 0
    done = subprocess.run(["cpio", "-tv"], input=data, capture_output=True, check=True)
    lines = [line.split() for line in done.stdout.decode().splitlines()]
    assert [(line[0], line[4], line[-1]) for line in lines] == [
        ("drwxr-xr-x", "0", "bin"),
        ("drwxr-xr-x", "0", "dev"),
        ("-rwxr-xr-x", "3", "init"),
        ("-rw-r--r--", "4", "bin/b"),
    ]


def test_modules_are_unpacked(tmp_path: Path) -> None:
    for name, data in {
        "a.ko": b"m",
        "b.ko.xz": lzma.compress(b"m"),
        "c.ko.gz": gzip.compress(b"m"),
        "d.ko.zst": pa.compress(b"m", codec="zstd", asbytes=True),
    }.items():
        path = tmp_path / name
        path.write_bytes(data)
        assert unpacked(path) == b"m"
        assert plain_name(path) == f"{name[0]}.ko"
    with pytest.raises(Failed, match="compressed in a way"):
        unpacked(tmp_path / "e.ko.br")


def test_the_machine_has_no_network_and_no_disk() -> None:
    shares = (Share("root", Path("/")), Share("results", Path("/a,b"), writable=True))
    machine = Machine(ARCH, "tcg", Path("/k"), Path("/i"), shares, 3, "1G")
    descriptors = {name: number for number, name in enumerate(("console", *PORTS), 10)}
    argv = machine.argv(descriptors)
    text = shlex.join(argv)
    assert argv[0] == "qemu"
    assert "-nodefaults" in argv
    assert "-nic none" in text
    assert not any(word in text for word in ("-netdev", "-drive", "virtio-net"))
    assert "-accel tcg,thread=single -cpu some-cpu" in text
    assert "-smp 3 -m 1G" in text
    assert "local,id=root,path=/,security_model=none,multidevs=remap,readonly=on" in argv
    assert "local,id=results,path=/a,,b,security_model=none,multidevs=remap" in argv
    assert "socket,id=out,fd=12" in argv
    assert "console=ttyS0 " in text


def test_a_job_is_read_by_a_shell_as_it_was_meant() -> None:
    argv = ["sh", "-c", "printf '%s\n' \"$A\" 'it''s'; exit 3"]
    job = Job("row", "/a b", argv, {"A": "x 'y'\n$z"}, venv=True)
    script = job.script().decode()
    assert script.endswith("\n# end of job\n")
    check = 'printf "%s|" "$name" "$checkout" "$venv" "$results"; sh -c "$command"'
    done = subprocess.run(["sh", "-c", script + check], capture_output=True, text=True, check=False)
    assert done.stdout == "row|/a b|yes||x 'y'\n$z\nits\n"
    assert done.returncode == 3


def test_the_scripts_of_the_guest_are_shell() -> None:
    for name in ("stage1.sh", "stage2.sh"):
        path = ROOT / "scripts" / "guests" / name
        done = subprocess.run(["sh", "-n", path], capture_output=True, check=False)
        assert done.returncode == 0, done.stderr


REPORT = (
    """<testsuites><testsuite tests="{}" failures="{}" errors="{}" skipped="{}"/></testsuites>"""
)


@pytest.mark.parametrize(
    ("numbers", "status", "counts", "good"),
    [
        ((5, 0, 0, 1), 0, Counts(4, 0, 0, 1), True),
        ((5, 2, 0, 1), 1, Counts(2, 2, 0, 1), False),
        ((5, 0, 0, 0), 1, Counts(5, 0, 1, 0, "exit status 1"), False),
        ((2, 0, 0, 2), 0, Counts(0, 0, 1, 2, "no test passed"), False),
        ((0, 0, 0, 0), 0, Counts(0, 0, 1, 0, "no test passed"), False),
    ],
)
def test_counts_of_a_report(
    tmp_path: Path, numbers: tuple[int, ...], status: int, counts: Counts, *, good: bool
) -> None:
    path = tmp_path / "junit.xml"
    path.write_text(REPORT.format(*numbers))
    assert read(path, status) == counts
    assert counts.good is good


def test_no_report_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "junit.xml"
    assert read(path, 0).errors == 1
    path.write_text("<testsuites>")
    assert read(path, 0).errors == 1
    assert not read(path, 0).good


def test_the_table_ends_as_pytest_does() -> None:
    results = [
        Result("host", "6.18", "0.26", "none", Counts(10, 0, 0, 1), 61.2),
        Result("old", "5.10", "0.26", "tcg", Counts(3, 1, 1, 0, "the time was over"), 100),
    ]
    assert left_out("nobody answers").good
    lines = as_text(results).splitlines()
    assert lines[0].split() == [
        *("row", "kernel", "BCC", "by", "passed", "failed", "errors", "skipped", "seconds")
    ]
    assert lines[3].split() == ["old", "5.10", "0.26", "tcg", "3", "1", "1", "0", "100"]
    assert lines[-2] == "old: the time was over"
    assert lines[-1].strip("= ") == "1 failed, 13 passed, 1 skipped, 1 errors in 161.20s"
    assert total([]).closing(0).strip("= ") == "no tests ran in 0.00s"


def test_output_of_a_row_is_not_taken_for_the_end() -> None:
    stream = io.StringIO()
    sink = Prefixed("old", stream)
    sink(b"a\nb")
    sink(b"c\n=== 3 passed")
    sink.close()
    assert stream.getvalue() == "old: a\nold: bc\nold: === 3 passed\n"


def test_kvm_is_tried_once_per_boot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    device, boot = tmp_path / "kvm", tmp_path / "boot_id"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(accelerator, "KVM", device)
    monkeypatch.setattr(accelerator, "_BOOT_ID", boot)
    tried: list[bool] = []

    def works(answer: bool) -> bool:  # noqa: FBT001 - what it will say
        tried.append(answer)
        return answer

    boot.write_text("one\n")
    assert accelerator.choose(lambda: works(True)) == "tcg"  # no device
    assert tried == []
    device.touch()
    assert accelerator.choose(lambda: works(False)) == "tcg"
    assert accelerator.choose(lambda: works(True)) == "tcg"
    assert tried == [False]
    boot.write_text("two\n")
    assert accelerator.choose(lambda: works(True)) == "kvm"
    tmp_path.joinpath("tracetw-vm", "kvm.json").write_text("{")
    assert accelerator.choose(lambda: works(True)) == "kvm"
    assert tried == [False, True, True]


def test_the_cache_is_outside_of_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert folder("a", "b") == tmp_path / "tracetw-vm" / "a" / "b"
    for name in ("one", "two"):
        tmp_path.joinpath(name).mkdir()
        point(tmp_path / "current", tmp_path / name)
        assert tmp_path.joinpath("current").resolve().name == name


def test_an_unknown_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = os.uname()
    other = os.uname_result((*machine[:4], "vax"))
    monkeypatch.setattr(os, "uname", lambda: other)
    with pytest.raises(Missing, match="no virtual machine is known for vax") as caught:
        Hypervisor()
    assert caught.value.exit_code == 3


def test_command_lines() -> None:
    given = parse(["run", "debian-12", "--timeout", "5", "--", "sh", "-c", "x", "--", "y"])
    assert (given.row, given.timeout, given.argv) == ("debian-12", 5, ["sh", "-c", "x", "--", "y"])
    given = parse(["matrix", "--ci", "a", "b"])
    assert (given.ci, given.rows, given.argv) == (True, ["a", "b"], [])


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["run", "debian-12"],
        ["run", "debian-12", "--memory", "lots", "--", "x"],
        ["run", "debian-12", "--smp", "0", "--", "x"],
        ["matrix", "--timeout", "-1"],
    ],
)
def test_bad_arguments(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(words)
    assert ended.value.code == 2
    assert capsys.readouterr().err


def test_a_mistake_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "no-such", "--", "true"]) == 2
    assert re.fullmatch(r"vm: there is no row no-such; rows are .*\n", capsys.readouterr().err)


def test_list_names_every_row_and_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [row.name for row in rows()]
    assert all(row.reason in line for row, line in zip(rows(), lines, strict=True))


def test_endings_have_words() -> None:
    assert len({ending.value for ending in Ending}) == len(Ending)


ROWS = [row for row in rows() if row.virtual][:3]


def test_rows_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    both = threading.Barrier(2, timeout=60)

    def run(_: Matrix, row: Row) -> Result:
        if row is not ROWS[2]:
            both.wait()
        return Result(row.name, "", "", "none", Counts(1), 0)

    monkeypatch.setattr(Matrix, "run", run)
    found, whole = Matrix(Hypervisor(), Limits()).run_all(ROWS, 2)
    assert [each.row for each in found] == [row.name for row in ROWS]
    assert whole


def test_what_was_not_run_before_an_interrupt_is_no_success(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def run(_: Matrix, row: Row) -> Result:
        if row is ROWS[1]:
            raise KeyboardInterrupt  # as the main thread has it while it waits
        return Result(row.name, "", "", "none", Counts(1), 0)

    monkeypatch.setattr(Matrix, "run", run)
    matrix = Matrix(Hypervisor(), Limits())
    found, whole = matrix.run_all(ROWS, 1)
    assert not whole
    assert [each.counts.good for each in found][:2] == [True, False]
    assert found[1].counts.complaint == "interrupted"
