# SPDX-License-Identifier: Apache-2.0
"""The realistic load: nginx serves a small file to ``ab``, with a connection for each request."""

from __future__ import annotations

import os
import re
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from scripts.benchmark.errors import BenchError, NotStarted
from scripts.benchmark.machine import cpu_times
from scripts.benchmark.storm import LIMIT_S, Load
from scripts.benchmark.unpack import Programs, find
from scripts.benchmark.usage import tree, usage
from scripts.benchmark.work import Run, Work
from tracetw.lab.net.host import Host

__all__ = ["PACKAGES", "WebWork", "parse_ab"]

PACKAGES = {"nginx": "nginx", "ab": "apache2-utils"}
PAGE_BYTES = 4096
AT_ONCE = 32  # connections that each client keeps open
START_LIMIT_S = 10.0
POLL_S = 0.02
CONFIG = """\
daemon off;
worker_processes {workers};
pid {folder}/nginx.pid;
error_log {folder}/error.log;
{user}
events {{ worker_connections 4096; }}
http {{
  access_log {folder}/access.log combined;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  server {{ listen 127.0.0.1:8080 backlog=4096; root {folder}/pages; }}
}}
"""


class WebWork(Work):
    """Half of the CPUs' number in nginx workers, as many clients; all in ``folder``."""

    name = "nginx"
    what = (
        f"nginx serves a file of {PAGE_BYTES} bytes and writes its access log; `ab` asks with"
        f" {AT_ONCE} connections at a time, each for one request."
    )

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._programs: Programs | None = None
        self._clients = max(1, cpu_times().cpus // 2)

    def _found(self) -> Programs:
        if self._programs is None:
            unpacked = self._folder / "packages"
            unpacked.mkdir(exist_ok=True, parents=True)
            self._programs = find(PACKAGES, unpacked)
            pages = self._folder / "pages"
            pages.mkdir()
            pages.joinpath("page").write_bytes(b"x" * PAGE_BYTES)
            user = "user root;" if os.geteuid() == 0 else ""
            config = CONFIG.format(folder=self._folder, workers=self._clients, user=user)
            self._folder.joinpath("nginx.conf").write_text(config)
        return self._programs

    @contextmanager
    def ready(self, namespace: Host) -> Iterator[Run]:
        """Nginx serves in the namespace. Raises NotStarted when it cannot be had or started."""
        programs = self._found()
        config = ["-p", str(self._folder), "-c", str(self._folder / "nginx.conf")]
        with (self._folder / "said").open("wb") as said:
            server = subprocess.Popen(
                namespace.inside([programs.paths["nginx"], *config]),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=programs.environment,
            )
        try:
            self._await(server)
            yield lambda count: self._ask(programs, namespace, server.pid, count)
        finally:
            server.send_signal(signal.SIGTERM)
            try:
                server.wait(START_LIMIT_S)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()
            with suppress(FileNotFoundError):
                (self._folder / "access.log").unlink()

    def _await(self, server: subprocess.Popen[bytes]) -> None:
        """It writes its pid once it listens."""
        limit = time.monotonic() + START_LIMIT_S
        pid = self._folder / "nginx.pid"
        while not (pid.exists() and pid.read_text().strip()):
            if server.poll() is not None or time.monotonic() > limit:
                lines = (self._folder / "said").read_text(errors="replace").split("\n")
                raise NotStarted(f"nginx does not start: {lines[0] or 'no message'}")
            time.sleep(POLL_S)

    def _ask(self, programs: Programs, namespace: Host, server: int, count: int) -> Load:
        """All clients at once; the pages they ask for add up to ``count``, or to a few more."""
        each = -(-count // self._clients)
        before = usage(tree(server)).all
        clients = [
            _Client(programs, namespace, number, max(each, AT_ONCE), self._folder)
            for number in range(self._clients)
        ]
        try:
            loads = [client.finish() for client in clients]
        finally:
            for client in clients:
                client.end()
        spent = usage(tree(server)).all - before + sum(load.cpu_s for load in loads)
        return Load(
            sum(load.connections for load in loads),
            max(load.seconds for load in loads),
            spent,
            0,
            max(load.p99_ms or 0.0 for load in loads),
        )


class _Client:
    """One ``ab``, with a source address of its own: those of the clients of storm.c."""

    def __init__(
        self, programs: Programs, namespace: Host, number: int, count: int, folder: Path
    ) -> None:
        self._times = folder / f"times-{number}.csv"
        self._said = folder / f"ab-{number}"
        address = f"127.{16 + number % 200}.0.1"
        command = [
            *(programs.paths["ab"], "-q", "-n", str(count), "-c", str(AT_ONCE)),
            *("-B", address, "-e", str(self._times), "http://127.0.0.1:8080/page"),
        ]
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                namespace.inside(command),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                env=programs.environment,
            )

    def finish(self) -> Load:
        """Wait for its end. Raises BenchError unless every request was answered."""
        ended = os.pidfd_open(self._process.pid)
        try:
            if not select.select([ended], [], [], LIMIT_S)[0]:
                raise BenchError(f"ab did not end within {LIMIT_S} s")
        finally:
            os.close(ended)
        spent = usage([self._process.pid]).all
        self._process.wait()
        text = self._said.read_text(errors="replace")
        if self._process.returncode:
            raise BenchError(
                f"ab failed: {next(reversed(text.strip().splitlines()), 'no message')}"
            )
        return parse_ab(text, self._times.read_text(), spent)

    def end(self) -> None:
        """Whatever it does."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()


def parse_ab(said: str, times: str, cpu_s: float) -> Load:
    """What ``ab`` printed and its table of percentiles (-e). Raises BenchError for failed requests."""
    numbers = {
        name: re.search(rf"^{name}: +([\d.]+)", said, re.MULTILINE)
        for name in ("Complete requests", "Failed requests", "Time taken for tests")
    }
    complete, failed, seconds = (float(found[1]) if found else -1 for found in numbers.values())
    p99 = re.search(r"^99,([\d.]+)", times, re.MULTILINE)
    if complete < 1 or failed or seconds <= 0 or p99 is None:
        raise BenchError(f"ab: {complete:.0f} requests complete, {failed:.0f} failed")
    return Load(int(complete), seconds, cpu_s, 0, float(p99[1]))
