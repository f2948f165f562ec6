# SPDX-License-Identifier: Apache-2.0
"""Where the packages of a distribution come from: what the user says, the host's own, or the public address."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from scripts.guests.apt import Archive
from scripts.guests.architecture import this_architecture
from scripts.guests.distribution import Distribution, Mirrors
from scripts.guests.errors import Missing, Unreachable
from scripts.guests.hypervisor import Hypervisor, Limits
from scripts.guests.junit import Counts
from scripts.guests.matrix import Matrix
from scripts.guests.rows import Row, rows

OTHER = Distribution("other", "Nobody", "", "any", "linux-{architecture}", suites=("{}", "{}-new"))


@pytest.fixture(autouse=True)
def needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if shutil.which("apt-get") is None:
        pytest.skip("apt-get is not here")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv(OTHER.variable, raising=False)


@contextmanager
def nothing_there() -> Iterator[str]:
    """A mirror that has no file."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            """To nobody."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/other"
        server.shutdown()


def archive(
    public: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, said: str = ""
) -> Archive:
    keyring = tmp_path / "any.gpg"
    keyring.touch()
    one = Distribution(
        **{**{name: getattr(OTHER, name) for name in OTHER.__slots__}, "mirror": public}
    )
    monkeypatch.setattr(Mirrors, "keyring", lambda *_: keyring)
    if said:
        monkeypatch.setenv(one.variable, said)
    return Mirrors({"other": one}).archive("other", "suite", this_architecture().debian)


def test_a_release_is_all_of_its_suites(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = archive("http://public/other", monkeypatch, tmp_path)
    assert [line.split("] ")[1] for line in found.sources] == [
        "http://public/other suite main",
        "http://public/other suite-new main",
    ]


def test_the_public_address_may_be_out_of_reach_and_what_a_user_named_may_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with nothing_there() as address:
        with pytest.raises(Unreachable, match=f"cannot be had from {address}") as caught:
            archive(address, monkeypatch, tmp_path).update()
        assert caught.value.exit_code == 3
        assert "TRACETW_OTHER_MIRROR names another mirror" in str(caught.value)
        with pytest.raises(Missing) as named:
            archive("http://public/other", monkeypatch, tmp_path, said=f"{address}/").update()
        assert not isinstance(named.value, Unreachable)
        assert f"from {address}:" in str(named.value)


def test_a_row_that_cannot_be_reached_is_left_out_unless_it_is_required(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with nothing_there() as address:
        source = archive(address, monkeypatch, tmp_path)

        def unreachable(*_: object) -> Archive:
            return source

        monkeypatch.setattr(Hypervisor, "archive", unreachable)
        row: Row = next(row for row in rows() if row.distribution != "debian")
        lenient = Matrix(Hypervisor(), Limits()).run(row)
        assert (lenient.counts.skipped, lenient.counts.errors, lenient.counts.good) == (1, 0, True)
        assert lenient.counts.complaint.startswith("left out: the package list of suite cannot")
        strict = Matrix(Hypervisor(), Limits(), require=True).run(row)
        assert (strict.counts.errors, strict.counts.good) == (1, False)
    assert Counts().good is False
