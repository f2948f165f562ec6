# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from pathlib import Path

import pytest

from tracetw.errors import BadInput
from tracetw.host import container

WEB, DB = "a1" * 32, "b2" * 32


@pytest.fixture
def runtimes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where Docker and Podman keep the names of theirs."""
    docker, podman = tmp_path / "docker", tmp_path / "containers.json"
    monkeypatch.setattr(container, "_DOCKER", docker)
    monkeypatch.setattr(container, "_PODMAN", podman)
    (docker / WEB).mkdir(parents=True)
    (docker / WEB / "config.v2.json").write_text(json.dumps({"ID": WEB, "Name": "/web"}))
    podman.write_text(json.dumps([{"id": DB, "names": ["db", "database"]}, {"id": "x"}]))
    return tmp_path


@pytest.mark.usefixtures("runtimes")
def test_names_of_docker_and_podman() -> None:
    assert container.known() == {"web": WEB, "db": DB, "database": DB}
    assert container.resolve("web") == (WEB,)
    assert container.belongs(f"/system.slice/docker-{WEB}.scope", container.resolve("web"))
    assert not container.belongs(f"/system.slice/docker-{DB}.scope", container.resolve("web"))
    assert not container.belongs(None, container.resolve("web"))


@pytest.mark.usefixtures("runtimes")
def test_ids_need_not_run_yet() -> None:
    assert container.resolve("C3C3C3C3C3C3") == ("c3c3c3c3c3c3",)


@pytest.mark.usefixtures("runtimes")
@pytest.mark.parametrize("text", ["no-such", "", "abc", "../web", "\x1b[31m", "a" * 5000])
def test_others_are_refused(text: str) -> None:
    with pytest.raises(BadInput, match="is no container of this host"):
        container.resolve(text)


@pytest.mark.parametrize(
    "content",
    ["[" * 100_000, "{}", "[1, null]", '[{"id": 1, "names": [2]}]', "\x00", '{"Name": 7}'],
)
def test_files_that_are_not_as_they_should_be(content: str, runtimes: Path) -> None:
    (runtimes / "containers.json").write_text(content)
    (runtimes / "docker" / WEB / "config.v2.json").write_text(content)
    assert container.known() == {}


def test_no_runtime_no_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "_DOCKER", tmp_path / "docker")
    monkeypatch.setattr(container, "_PODMAN", tmp_path / "podman")
    assert container.known() == {}
