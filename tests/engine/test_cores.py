"""The cores that a measurement runs on."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.engine import cores
from orchestrator.engine.cores import Ticks, busy_share, own_threads, pinned, quietest, siblings, ticks

STAT = """cpu  30 0 0 70 0 0 0 0 0 0
cpu0 10 1 2 70 3 4 5 6 0 0
cpu1 20 0 0 0 0 0 0 0 0 0
intr 12 0 0
"""


@pytest.fixture
def affinity(needs_system: Callable[[bool, str], None]) -> None:
    """The system lets a process choose its cores."""
    needs_system(hasattr(os, "sched_setaffinity"), "a system with affinity (Linux)")


def test_what_a_core_did(tmp_path: Path) -> None:
    (tmp_path / "stat").write_text(STAT)
    found = ticks(tmp_path)
    assert found == {0: Ticks(22, 6, 101), 1: Ticks(20, 0, 20)}
    later = {0: Ticks(32, 6, 141), 1: Ticks(20, 0, 20)}
    assert busy_share(0, found, later) == 0.25
    assert busy_share(1, found, later) is None, "no time has passed"
    assert busy_share(7, found, later) is None


@pytest.mark.parametrize("text", [None, "", "cpu0 a b", "cpu0 1 2"])
def test_a_system_that_says_nothing(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "stat").write_text(text)
    assert ticks(tmp_path) == {}
    assert own_threads(tmp_path) == [os.getpid()]
    assert siblings(3, tmp_path) == {3}


def test_the_quietest_cores_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "siblings", lambda core: {core})
    before = {core: Ticks(0, 0, 0) for core in range(4)}
    after = {core: Ticks(busy, 0, 100) for core, busy in enumerate((50, 10, 90, 20))}
    assert quietest(1, range(4), before, after) == [1]
    assert quietest(2, range(4), before, after) == [1, 3]
    assert quietest(2, [0, 2, 3], before, after) == [0, 3], "of those that are allowed"
    assert quietest(2, range(4), {}, {}) == [0, 1], "nothing is known"


def test_two_threads_of_one_physical_core_come_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for core, text in enumerate(("0-1\n", "0-1\n", "2,3\n", "2,3\n")):
        (tmp_path / f"cpu{core}" / "topology").mkdir(parents=True)
        (tmp_path / f"cpu{core}" / "topology" / "thread_siblings_list").write_text(text)
    assert [siblings(core, tmp_path) for core in range(4)] == [{0, 1}, {0, 1}, {2, 3}, {2, 3}]
    monkeypatch.setattr(cores, "siblings", lambda core: siblings(core, tmp_path))
    assert quietest(2, range(4), {}, {}) == [0, 2]
    assert quietest(3, range(4), {}, {}) == [0, 1, 2]


@pytest.mark.usefixtures("affinity")
def test_all_threads_are_pinned_and_put_back() -> None:
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    before = {own: os.sched_getaffinity(own) for own in own_threads()}
    assert len(before) > 1
    try:
        with pinned(1) as chosen:
            assert chosen is not None
            assert len(chosen) == 1
            during = {own: os.sched_getaffinity(own) for own in before}
            assert set(map(frozenset, during.values())) == {frozenset(chosen)}
            late = threading.Thread(target=end.wait)
            late.start()
            assert late.native_id is not None
            assert os.sched_getaffinity(late.native_id) == {*chosen}
        assert {own: os.sched_getaffinity(own) for own in before} == before
        assert os.sched_getaffinity(late.native_id) == os.sched_getaffinity(0), "also what was started meanwhile"
    finally:
        end.set()


@pytest.mark.usefixtures("affinity")
def test_cores_are_put_back_after_an_error() -> None:
    before = os.sched_getaffinity(0)
    with pytest.raises(RuntimeError), pinned(1):
        raise RuntimeError
    assert os.sched_getaffinity(0) == before


@pytest.mark.usefixtures("affinity")
def test_more_threads_than_cores_take_all() -> None:
    with pinned(10_000) as chosen:
        assert chosen == sorted(os.sched_getaffinity(0))


def test_a_system_without_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    with pinned(1) as chosen:
        assert chosen is None


@pytest.mark.usefixtures("affinity")
def test_a_system_that_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    with pinned(1) as chosen:
        assert chosen is None
