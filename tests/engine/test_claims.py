"""Several processes at one store: one write wins, a claim ends with its holder; they race and are killed."""

from __future__ import annotations

import os
import signal
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest
import torch
from stage_files import KEY, fork, killed_at_the_end, make_tensors, started

from orchestrator.engine.folder import FolderError, SweepFolder
from orchestrator.engine.store import Store

# Several processes


def _race(folder: Path, number: int, rounds: int, barrier: Barrier, wins: Any) -> None:
    torch.set_num_threads(1)
    store = Store(folder)
    for i in range(rounds):
        key = f"{i:02d}" + "f" * 62
        barrier.wait(60)
        if store.write(key, make_tensors(float(number)), {"by": number}):
            wins[i] += 1 << (8 * number)
        found = store.read(key)
        assert found is not None
        tensors, meta = found
        assert (tensors["a"] == meta["by"]).all()


def test_of_two_processes_that_write_one_key_one_wins_and_both_read_it_whole(tmp_path: Path) -> None:
    rounds = 50
    barrier, wins = fork.Barrier(2), fork.Array("i", rounds)
    processes = [started(_race, tmp_path, number, rounds, barrier, wins) for number in (0, 1)]
    with killed_at_the_end(processes[0]), killed_at_the_end(processes[1]):
        for process in processes:
            process.join(60)
            assert process.exitcode == 0
    store = Store(tmp_path)
    assert set(wins[:]) <= {1, 256}, "each round has one winner"
    for i in range(rounds):
        tensors, meta = store.read(f"{i:02d}" + "f" * 62) or ({}, {})
        assert wins[i] == 1 << (8 * meta["by"])
        assert (tensors["a"] == meta["by"]).all()
    assert not list(tmp_path.glob("stages/*/.*")), "the losers' files are gone"
    assert not (tmp_path / "corrupt").exists()


def _hold(folder: Path, held: Any) -> None:
    with Store(folder).claim(KEY) as mine:
        assert mine
        held.set()
        time.sleep(60)


def test_a_claim_ends_with_the_process_that_holds_it(store: Store) -> None:
    held = fork.Event()
    process = started(_hold, store.folder, held)
    with killed_at_the_end(process):
        assert held.wait(30)
        with store.claim(KEY) as mine:
            assert not mine
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        with store.claim(KEY) as mine:
            assert mine
            with store.claim(KEY) as again:
                assert not again
    with store.claim(KEY) as mine:
        assert mine


def _claim_often(folder: Path, seconds: float, inside: Any, twice: Any, claims: Any) -> None:
    store, end = Store(folder), time.monotonic() + seconds
    while time.monotonic() < end:
        with store.claim(KEY) as mine:
            if mine:
                with inside.get_lock():
                    inside.value += 1
                    twice.value += inside.value > 1
                    claims.value += 1
                os.sched_yield()
                with inside.get_lock():
                    inside.value -= 1


def test_never_two_processes_hold_one_claim(store: Store) -> None:
    """A claim is a file that its holder removes: whoever had opened it before must not take it for the claim."""
    inside, twice, claims = (fork.Value("i", 0) for _ in range(3))
    processes = [started(_claim_often, store.folder, 1.5, inside, twice, claims) for _ in range(3)]
    for process in processes:
        process.join(30)
        assert process.exitcode == 0
    assert claims.value > 100
    assert twice.value == 0


def test_a_claim_ends_where_its_block_raises(store: Store) -> None:
    with pytest.raises(KeyError), store.claim(KEY):
        raise KeyError
    with store.claim(KEY) as mine:
        assert mine
    assert list((store.folder / "claims").iterdir()) == []


def _drive(folder: Path, held: Any) -> None:
    with SweepFolder(folder).driving():
        held.set()
        time.sleep(60)


def test_a_second_driver_is_refused_and_a_killed_one_leaves_nothing_behind(tmp_path: Path) -> None:
    folder, held = SweepFolder(tmp_path), fork.Event()
    assert folder.driver() is None
    process = started(_drive, tmp_path, held)
    with killed_at_the_end(process):
        assert held.wait(30)
        assert f"process {process.pid}" in (folder.driver() or "")
        with pytest.raises(FolderError, match=rf"another process is driving this sweep \(process {process.pid}"):
            folder.driving().__enter__()
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    assert folder.driver() is None
    with folder.driving():
        assert not folder.stop_requested()
