# SPDX-License-Identifier: Apache-2.0
"""Programs that several threads load: the errors are those of one, and nothing is left."""

from __future__ import annotations

import os
import threading

import pytest

from tests.kernel.kit.bpf_ids import alive
from tracetw.kernel.attach_point import AttachPoint
from tracetw.kernel.load import attachment
from tracetw.kernel.load.programs import Refused, load_all
from tracetw.lab.polling import eventually, patient

GOOD = bytes.fromhex("b700000000000000 9500000000000000")  # r0 = 0; exit
BAD = bytes.fromhex("9500000000000000")  # exit, r0 is not set
NAMES = tuple(f"trial{number}" for number in range(12))


def work(*bad: str) -> list[tuple[AttachPoint, bytes]]:
    """Programs of several sizes, in the order of ``NAMES``; the longest are last."""
    return [
        (AttachPoint(name, "tcp_destroy_sock"), (BAD if name in bad else GOOD[:8] * number + GOOD))
        for number, name in enumerate(NAMES)
    ]


@pytest.fixture(autouse=True)
def _several(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})


def test_each_program_has_its_descriptor_and_no_thread_stays() -> None:
    before, threads = alive(), threading.active_count()
    loaded = load_all(work())
    assert threading.active_count() == threads
    assert set(loaded) == {*NAMES}
    assert len(set(loaded.values())) == len(NAMES)
    for fd in loaded.values():
        os.close(fd)
    eventually(lambda: not alive() - before)


def test_the_first_one_refused_is_named_and_the_others_are_closed() -> None:
    before, threads = alive(), threading.active_count()
    with pytest.raises(Refused) as caught:
        load_all(work(NAMES[9], NAMES[4]))
    assert caught.value.program == NAMES[4]
    assert "R0 !read_ok" in str(caught.value)
    assert threading.active_count() == threads
    eventually(lambda: not alive() - before)


def test_an_interrupt_ends_all_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before, load, main = alive(), attachment.load, threading.get_ident()
    came = threading.Event()

    def interrupted(point: AttachPoint, code: bytes) -> int:
        if threading.get_ident() == main:
            came.set()
            raise KeyboardInterrupt
        came.wait(patient(10))  # else it may have loaded all before
        return load(point, code)

    monkeypatch.setattr(attachment, "load", interrupted)
    threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        load_all(work())
    assert threading.active_count() == threads
    eventually(lambda: not alive() - before)


def test_without_another_thread_one_loads_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more(_: threading.Thread) -> None:
        message = "can't start new thread"
        raise RuntimeError(message)

    monkeypatch.setattr(threading.Thread, "start", no_more)
    loaded = load_all(work())
    assert set(loaded) == {*NAMES}
    for fd in loaded.values():
        os.close(fd)
