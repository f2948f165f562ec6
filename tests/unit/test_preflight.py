# SPDX-License-Identifier: Apache-2.0
"""Every refusal, on a made-up host that lacks exactly one thing."""

from __future__ import annotations

import dataclasses
import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from tracetw import isolated
from tracetw.errors import CannotTrace
from tracetw.kernel import bindings
from tracetw.kernel.load.loader import unusable
from tracetw.kernel.preflight import System, check

ALL = 0x1FF_FFFF_FFFF
NEEDED = (b"BPF_MAP_TYPE_RINGBUF", b"btf_trace_inet_sock_set_state")


def status(uid: int, capabilities: int) -> str:
    return f"Name:\tpython3\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nCapEff:\t{capabilities:016x}\n"


def btf(*names: bytes, magic: int = 0xEB9F) -> bytes:
    strings = b"".join(name + b"\0" for name in (b"", b"int", *names))
    return struct.pack("=HBBIIIII", magic, 1, 0, 24, 0, 8, 8, len(strings)) + bytes(8) + strings


def package(folder: Path, *files: str) -> str:
    """A folder for the Python path that holds a package bcc of these files."""
    (folder / "bcc").mkdir(parents=True)
    for name in ("__init__.py", *files):
        (folder / "bcc" / name).touch()
    return str(folder)


@pytest.fixture
def host(tmp_path: Path) -> System:
    """A host on which nothing is missing."""
    (tmp_path / "status").write_text(status(0, ALL))
    (tmp_path / "user").symlink_to("user:[4026531837]")
    (tmp_path / "vmlinux").write_bytes(btf(*NEEDED))
    (tmp_path / "os-release").write_text('ID=debian\nVERSION_ID="12"\n')
    return System(
        status=tmp_path / "status",
        user_namespace=tmp_path / "user",
        btf=tmp_path / "vmlinux",
        lockdown=tmp_path / "lockdown",
        os_release=tmp_path / "os-release",
        root=tmp_path / "root",
        own_packages=(package(tmp_path / "real", "libbcc.py", "table.py"),),
    )


def refusal(host: System) -> str:
    """The message, which must be one line with a hint."""
    with pytest.raises(CannotTrace) as caught:
        check(host)
    assert caught.value.exit_code == 3
    assert caught.value.hint
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_host_that_has_everything(host: System) -> None:
    check(host)


@pytest.mark.parametrize("capabilities", [1 << 39 | 1 << 38, 1 << 21])
def test_the_capabilities_are_enough_without_root(host: System, capabilities: int) -> None:
    host.status.write_text(status(1000, capabilities))
    check(host)


def test_not_root(host: System) -> None:
    host.status.write_text(status(1000, 0))
    assert refusal(host) == "not root: CAP_BPF and CAP_PERFMON missing; start it with sudo"


def test_one_capability_missing(host: System) -> None:
    host.status.write_text(status(1000, 1 << 39))
    assert refusal(host).startswith("not root: CAP_PERFMON missing;")


def test_root_of_a_container(host: System) -> None:
    host.status.write_text(status(0, 0xA80425FB))
    assert refusal(host).startswith("root without CAP_BPF and CAP_PERFMON (a container);")


def test_root_of_a_user_namespace(host: System) -> None:
    host.user_namespace.unlink()
    host.user_namespace.symlink_to("user:[4026532281]")
    assert "user namespace" in refusal(host)


def test_no_btf(host: System) -> None:
    host.btf.unlink()
    message = refusal(host)
    assert message.startswith(f"this kernel has no BTF: {host.btf} does not exist;")
    assert "CONFIG_DEBUG_INFO_BTF=y" in message


@pytest.mark.parametrize("content", [b"", b"\x9f\xeb", btf(*NEEDED, magic=0x9FEB)])
def test_btf_that_is_none(host: System, content: bytes) -> None:
    host.btf.write_bytes(content)
    assert "cannot be read" in refusal(host)


def test_btf_that_may_not_be_read(host: System) -> None:
    host.btf.unlink()
    host.btf.mkdir()
    assert "cannot be read" in refusal(host)


@pytest.mark.parametrize(
    ("has", "what"),
    [
        (NEEDED[1:], "lacks BPF ring buffers;"),
        (NEEDED[:1], "lacks the tracepoint sock:inet_sock_set_state;"),
        ((), "lacks BPF ring buffers and the tracepoint sock:inet_sock_set_state;"),
        ((b"BPF_MAP_TYPE_RINGBUF_2", NEEDED[1]), "lacks BPF ring buffers;"),
    ],
)
def test_kernel_too_old(host: System, has: tuple[bytes, ...], what: str) -> None:
    host.btf.write_bytes(btf(*has))
    assert refusal(host).startswith(f"this kernel is too old: it {what}")


def test_lockdown(host: System) -> None:
    host.lockdown.write_text("none integrity [confidentiality]\n")
    assert "lockdown" in refusal(host)
    host.lockdown.write_text("none [integrity] confidentiality\n")
    check(host)


@pytest.mark.parametrize(
    ("release", "command"),
    [
        ("ID=debian\n", "apt install python3-bpfcc"),
        ('ID="linuxmint"\nID_LIKE="ubuntu debian"\n', "apt install python3-bpfcc"),
        ("ID=fedora\n", "dnf install python3-bcc"),
        ('ID="almalinux"\nID_LIKE="rhel centos fedora"\n', "dnf install python3-bcc"),
        ("ID=arch\n", "pacman -S python-bcc"),
        ("ID=plan9\n", "the distribution's package, python3-bpfcc or python3-bcc"),
    ],
)
def test_bcc_absent(host: System, tmp_path: Path, release: str, command: str) -> None:
    host.os_release.write_text(release)
    absent = dataclasses.replace(host, own_packages=(str(tmp_path / "empty"),))
    wanted = f"BCC's Python bindings are not installed; install them: {command}"
    assert refusal(absent) == wanted


def test_bcc_absent_without_os_release(host: System, tmp_path: Path) -> None:
    host.os_release.unlink()
    absent = dataclasses.replace(host, own_packages=(str(tmp_path / "empty"),))
    assert refusal(absent).startswith("BCC's Python bindings are not installed;")


@pytest.mark.parametrize(
    "place",
    [
        "usr/lib/python3/dist-packages",
        "usr/lib/python3.11/site-packages",
        "usr/lib64/python3.14/site-packages",
        "usr/local/lib/python3.12/dist-packages",
    ],
)
def test_bcc_is_the_distributions(host: System, place: str) -> None:
    """Whatever this interpreter sees, and beside PyPI's project of that name."""
    package(host.root / place, "libbcc.py")
    for own in ((), (package(host.root / "pypi", "bcc.py"),)):
        check(dataclasses.replace(host, own_packages=own))
        assert bindings.find(own, host.root) == host.root / place / "bcc"


def test_what_the_import_of_bcc_has_to_say_is_said(tmp_path: Path) -> None:
    """A release of BCC that this version of Python cannot import."""
    folder = Path(package(tmp_path), "bcc")
    (folder / "__init__.py").write_text("raise ImportError('no module named imp')\n")
    request = json.dumps({"bindings": str(folder)})
    done = subprocess.run(
        isolated.command("tracetw.kernel.load.compiler", packages=False),
        input=request,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (bindings.UNUSABLE, "")
    assert done.stderr == "ImportError: no module named imp\n"
    message, hint = unusable(folder, done.stderr)
    assert f"{folder} do not work with this Python" in message
    assert "ImportError: no module named imp" in message
    assert "/usr/bin/python3" in hint


def test_bcc_of_the_wrong_project(host: System, tmp_path: Path) -> None:
    other = dataclasses.replace(host, own_packages=(package(tmp_path / "pypi", "bcc.py"),))
    message = refusal(other)
    assert message.startswith(f"{tmp_path}/pypi/bcc is another project named bcc")
    assert "-m pip uninstall bcc), then: apt install python3-bpfcc" in message


def test_bcc_of_the_wrong_project_as_one_module(host: System, tmp_path: Path) -> None:
    (tmp_path / "pypi").mkdir()
    (tmp_path / "pypi" / "bcc.py").touch()
    other = dataclasses.replace(host, own_packages=(str(tmp_path / "pypi"),))
    assert refusal(other).startswith(f"{tmp_path}/pypi/bcc.py is another project named bcc")


def test_the_real_host_is_checked_without_importing_bcc() -> None:
    code = (
        "import sys\n"
        "from tracetw.errors import CannotTrace\n"
        "from tracetw.kernel.preflight import check\n"
        "try:\n    check()\nexcept CannotTrace:\n    pass\n"
        "sys.exit('bcc' in sys.modules)\n"
    )
    root = Path(__file__).parents[2]
    assert subprocess.run([sys.executable, "-c", code], cwd=root, check=False).returncode == 0
