"""The stage store: whole or absent, one winner, damage found; with real processes that race and are killed."""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import multiprocessing
import os
import resource
import signal
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest
import torch

from orchestrator.engine import files
from orchestrator.engine import store as store_module
from orchestrator.engine.files import Corrupt, read_sealed, write_sealed, write_text
from orchestrator.engine.folder import FolderError, SweepFolder
from orchestrator.engine.store import Store

KEY = "ab" + "0" * 62
fork = multiprocessing.get_context("fork")


def _tensors(value: float = 1.0) -> dict[str, torch.Tensor]:
    return {"a": torch.full((64, 3, 3, 3), value).to(memory_format=torch.channels_last), "b": torch.tensor(int(value))}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def _started(target: Any, *args: Any) -> Any:
    process = fork.Process(target=target, args=args)
    process.start()
    return process


@contextlib.contextmanager
def _killed_at_the_end(process: Any) -> Iterator[None]:
    try:
        yield
    finally:
        if process.is_alive():
            process.kill()
        process.join()


# Whole or absent


def test_a_stage_is_read_as_it_was_written(store: Store) -> None:
    assert store.read(KEY) is None
    assert not store.has(KEY)
    assert store.write(KEY, _tensors(), {"kind": "train", "steps": 3})
    found = store.read(KEY)
    assert found is not None
    tensors, meta = found
    assert torch.equal(tensors["a"], _tensors()["a"])
    assert tensors["b"].dtype == torch.int64
    assert (meta["kind"], meta["steps"], meta["key"]) == ("train", 3, KEY)
    assert store.stages() == [KEY]
    assert store.size(KEY) == sum(file.stat().st_size for file in store.path(KEY).iterdir())


def test_the_first_complete_write_wins(store: Store) -> None:
    assert store.write(KEY, _tensors(1.0), {"by": "first"})
    assert not store.write(KEY, _tensors(2.0), {"by": "second"})
    tensors, meta = store.read(KEY) or ({}, {})
    assert meta["by"] == "first"
    assert torch.equal(tensors["a"], _tensors(1.0)["a"])


def test_tensors_that_share_memory_are_kept(store: Store) -> None:
    weight = torch.arange(6.0)
    store.write(KEY, {"left": weight, "right": weight}, {})
    tensors, _ = store.read(KEY) or ({}, {})
    assert torch.equal(tensors["left"], tensors["right"])


def test_a_deleted_stage_is_gone_and_can_be_written_again(store: Store) -> None:
    store.write(KEY, _tensors(), {})
    size = store.size(KEY)
    assert store.delete(KEY) == size
    assert not store.has(KEY)
    assert store.stages() == []
    assert store.write(KEY, _tensors(), {})


def test_a_deletion_that_was_killed_half_way_leaves_room_for_the_stage(store: Store) -> None:
    store.write(KEY, _tensors(1.0), {})
    (store.path(KEY) / "stage.json").unlink()
    assert not store.has(KEY)
    assert store.write(KEY, _tensors(2.0), {})
    tensors, _ = store.read(KEY) or ({}, {})
    assert tensors["b"] == 2


def test_what_a_killed_writer_left_is_no_stage(store: Store) -> None:
    store.write(KEY, _tensors(), {})
    left = store.path(KEY).with_name(f".{KEY[:16]}.12345678.tmp")
    left.mkdir()
    (left / "stage.json").write_text("{}")
    assert store.stages() == [KEY]


# Damage


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def _empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("name", ["data.safetensors", "stage.json"])
@pytest.mark.parametrize("damage", [_truncate, _flip, _empty, Path.unlink])
def test_a_damaged_stage_is_set_aside_with_a_warning_and_can_be_made_again(
    store: Store, name: str, damage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    store.write(KEY, _tensors(1.0), {})
    damage(store.path(KEY) / name)
    with caplog.at_level(logging.WARNING):
        assert store.read(KEY) is None
    if not (name == "stage.json" and damage is Path.unlink):  # that one was never complete
        assert "stage set aside as" in caplog.text
        assert "to be computed anew" in caplog.text
        assert KEY in caplog.text
        assert len(list((store.folder / "corrupt").iterdir())) == 1
    assert store.write(KEY, _tensors(2.0), {})
    tensors, _ = store.read(KEY) or ({}, {})
    assert tensors["b"] == 2


def test_a_seal_covers_every_value(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_sealed(path, {"a": 0.1, "b": [1, None, float("nan")]})
    assert read_sealed(path)["a"] == 0.1
    text = path.read_text()
    for old, new in (("0.1", "0.2"), ("null", "true"), ('"b"', '"c"')):
        path.write_text(text.replace(old, new))
        with pytest.raises(Corrupt, match=r"x\.json: content does not match its checksum"):
            read_sealed(path)
    for broken in ("", "[]", "{}", "{", '"text"'):
        path.write_text(broken)
        with pytest.raises(Corrupt, match="not a sealed JSON file"):
            read_sealed(path)


def test_a_damaged_result_is_set_aside_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = SweepFolder(tmp_path)
    path = folder.trial("t") / "result.json"
    write_sealed(path, {"status": "done"})
    assert folder.result("t") == {"status": "done"}
    _flip(path)
    assert folder.result("t") is None
    assert "result set aside as" in caplog.text
    assert not path.exists()
    assert len(list(path.parent.glob("result.corrupt-*.json"))) == 1
    assert folder.results() == {}


# Checkpoints


def test_the_newest_whole_checkpoint_is_read(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    assert store.load_checkpoint(KEY) is None
    store.save_checkpoint(KEY, 5, _tensors(5))
    folder = store.folder / "checkpoints" / KEY
    (old,) = folder.glob("*.safetensors")
    content = old.read_bytes()
    store.save_checkpoint(KEY, 12, _tensors(12))
    (new,) = folder.glob("*.safetensors")
    assert (store.load_checkpoint(KEY) or {})["b"] == 12
    old.write_bytes(content)  # as a kill before the earlier one is removed leaves it
    assert (store.load_checkpoint(KEY) or {})["b"] == 12
    _flip(new)
    assert (store.load_checkpoint(KEY) or {})["b"] == 5
    assert "does not match its checksum and is left out" in caplog.text
    store.drop_checkpoint(KEY)
    assert store.load_checkpoint(KEY) is None
    store.drop_checkpoint(KEY)


def test_a_half_written_checkpoint_is_not_read(store: Store) -> None:
    store.save_checkpoint(KEY, 5, _tensors(5))
    folder = store.folder / "checkpoints" / KEY
    (whole,) = folder.glob("*.safetensors")
    (folder / ".new.12345678.tmp").write_bytes(whole.read_bytes()[:100])
    (folder / "new").write_bytes(whole.read_bytes())
    assert (store.load_checkpoint(KEY) or {})["b"] == 5


# Several processes


def _race(folder: Path, number: int, rounds: int, barrier: Barrier, wins: Any) -> None:
    torch.set_num_threads(1)
    store = Store(folder)
    for i in range(rounds):
        key = f"{i:02d}" + "f" * 62
        barrier.wait(60)
        if store.write(key, _tensors(float(number)), {"by": number}):
            wins[i] += 1 << (8 * number)
        found = store.read(key)
        assert found is not None
        tensors, meta = found
        assert (tensors["a"] == meta["by"]).all()


def test_of_two_processes_that_write_one_key_one_wins_and_both_read_it_whole(tmp_path: Path) -> None:
    rounds = 50
    barrier, wins = fork.Barrier(2), fork.Array("i", rounds)
    processes = [_started(_race, tmp_path, number, rounds, barrier, wins) for number in (0, 1)]
    with _killed_at_the_end(processes[0]), _killed_at_the_end(processes[1]):
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
    process = _started(_hold, store.folder, held)
    with _killed_at_the_end(process):
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
    processes = [_started(_claim_often, store.folder, 1.5, inside, twice, claims) for _ in range(3)]
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
    process = _started(_drive, tmp_path, held)
    with _killed_at_the_end(process):
        assert held.wait(30)
        assert f"process {process.pid}" in (folder.driver() or "")
        with pytest.raises(FolderError, match=rf"another process is driving this sweep \(process {process.pid}"):
            folder.driving().__enter__()
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    assert folder.driver() is None
    with folder.driving():
        assert not folder.stop_requested()


# A disk that is full, a folder that cannot be written


def _write_on_a_full_disk(folder: Path, limit: int, told: Any) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    store = Store(folder)
    try:
        store.write(KEY, _tensors(), {})
    except Exception as error:
        told.put(("write", type(error).__name__))
    try:
        store.save_checkpoint(KEY, 3, _tensors())
    except Exception as error:
        told.put(("checkpoint", type(error).__name__))


@pytest.mark.parametrize("limit", [0, 100, 5000])
def test_a_full_disk_leaves_nothing_that_is_read_later(store: Store, limit: int) -> None:
    """Files of a child process may not grow beyond `limit` bytes; the stage needs 7,100."""
    told = fork.SimpleQueue()
    process = _started(_write_on_a_full_disk, store.folder, limit, told)
    with _killed_at_the_end(process):
        assert told.get()[0] == "write"
        assert told.get()[0] == "checkpoint"
        process.join(30)
        assert process.exitcode == 0
    assert store.read(KEY) is None
    assert store.load_checkpoint(KEY) is None
    assert [path for path in store.folder.rglob("*") if path.is_file()] == []
    assert store.write(KEY, _tensors(), {})


def test_a_disk_that_fills_up_between_data_and_record_leaves_no_stage(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(store_module, "write_sealed", full)
    with pytest.raises(OSError, match="No space left"):
        store.write(KEY, _tensors(), {})
    assert [path for path in store.folder.rglob("*") if path.is_file()] == []


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_text(path, "old")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_text(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_folder_that_cannot_be_made_is_said_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FolderError, match=r"file/sweep: cannot be written \(Not a directory\); free space, mend its"):
        SweepFolder(tmp_path / "file" / "sweep").prepare()


def test_a_full_disk_is_said_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(FolderError, match=r"cannot be written \(No space left on device\).*choose another folder"):
        SweepFolder(tmp_path / "sweep").prepare()


# Events


def test_events_survive_a_line_that_was_cut_off(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path)
    assert folder.events("t") == []
    folder.tell("t", {"step": 1})
    with open(folder.trial("t") / "events.jsonl", "a") as file:
        file.write('{"step": 2, "unti')
    assert [event["step"] for event in folder.events("t")] == [1]
    assert all(json.dumps(event) for event in folder.events("t"))


def test_events_after_a_line_that_was_cut_off_are_kept(tmp_path: Path) -> None:
    folder = SweepFolder(tmp_path)
    folder.tell("t", {"step": 1})
    with open(folder.trial("t") / "events.jsonl", "a") as file:
        file.write('{"step": 2, "unti')
    folder.tell("t", {"begin": "key", "run": "r"})
    assert [event for event in folder.events("t") if event.get("begin") == "key"]
