# SPDX-License-Identifier: Apache-2.0
"""Cgroup ids and the containers in their paths."""

from __future__ import annotations

from pathlib import Path

import pytest

from tracetw.host.cgroup import Cgroups, container

LONG = "0123456789abcdef" * 4
SHORT = "0123456789ab"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (f"/system.slice/docker-{LONG}.scope", LONG),
        (f"/docker/{LONG}", LONG),
        (f"/docker/{LONG}/inner.service", LONG),
        (f"/kubepods.slice/kubepods-burstable.slice/x/cri-containerd-{LONG}.scope", LONG),
        (f"/kubepods.slice/kubepods-podab_cd.slice/crio-{LONG}.scope", LONG),
        (f"/kubepods/burstable/pod1b4e28ba-2fa1-11d2-883f-0016d3cca427/{LONG}", LONG),
        (f"/system.slice/containerd.service/kubepods-x.slice:cri-containerd:{LONG}", LONG),
        (f"/machine.slice/libpod-{LONG}.scope/container", LONG),
        (f"/user.slice/user-1000.slice/libpod-{SHORT}.scope", SHORT),
        (f"/machine.slice/libpod-conmon-{LONG}.scope", None),
        (f"/docker/{LONG}/docker/{LONG[::-1]}", LONG[::-1]),
        (f"/something/{SHORT}", None),
        ("/system.slice/docker.service", None),
        ("/", None),
        (None, None),
    ],
)
def test_container(path: str | None, expected: str | None) -> None:
    assert container(path) == expected


def test_paths_are_found_by_inode(tmp_path: Path) -> None:
    group = tmp_path / "system.slice" / "web.service"
    group.mkdir(parents=True)
    (tmp_path / "cgroup.procs").write_text("")
    groups = Cgroups(str(tmp_path))
    assert groups.path(group.stat().st_ino, 0.0) == "/system.slice/web.service"
    assert groups.path(tmp_path.stat().st_ino, 0.0) == "/"
    assert groups.path(0, 0.0) is None


def test_a_miss_scans_again_after_a_second_and_old_paths_stay(tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    groups = Cgroups(str(tmp_path))
    old_id = old.stat().st_ino
    assert groups.path(old_id, 10.0) == "/old"
    new = tmp_path / "new"
    new.mkdir()
    old.rmdir()
    new_id = new.stat().st_ino
    assert groups.path(new_id, 10.9) is None
    assert groups.path(new_id, 11.0) == "/new"
    assert groups.path(old_id, 11.1) == "/old"


def test_no_cgroup_file_system(tmp_path: Path) -> None:
    assert Cgroups(str(tmp_path / "absent")).path(1, 0.0) is None
