"""Files of a sweep: sealed, whole on a full disk or not at all; folders that cannot be written; events cut off."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from stage_files import KEY, fork, killed_at_the_end, make_tensors, started

from orchestrator.engine import files
from orchestrator.engine import store as store_module
from orchestrator.engine.files import Corrupt, read_sealed, size, write_sealed, write_text
from orchestrator.engine.folder import FolderError, SweepFolder
from orchestrator.engine.store import Store

# Seals


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


# A disk that is full, a folder that cannot be written


def _write_on_a_full_disk(folder: Path, limit: int, told: Any) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    store = Store(folder)
    try:
        store.write(KEY, make_tensors(), {})
    except Exception as error:
        told.put(("write", type(error).__name__))
    try:
        store.save_checkpoint(KEY, 3, make_tensors())
    except Exception as error:
        told.put(("checkpoint", type(error).__name__))


@pytest.mark.parametrize("limit", [0, 100, 5000])
def test_a_full_disk_leaves_nothing_that_is_read_later(store: Store, limit: int) -> None:
    """Files of a child process may not grow beyond `limit` bytes; the stage needs 7,100."""
    told = fork.SimpleQueue()
    process = started(_write_on_a_full_disk, store.folder, limit, told)
    with killed_at_the_end(process):
        assert told.get()[0] == "write"
        assert told.get()[0] == "checkpoint"
        process.join(30)
        assert process.exitcode == 0
    assert store.read(KEY) is None
    assert store.load_checkpoint(KEY) is None
    assert [path for path in store.folder.rglob("*") if path.is_file()] == []
    assert store.write(KEY, make_tensors(), {})


def test_a_disk_that_fills_up_between_data_and_record_leaves_no_stage(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(store_module, "write_sealed", full)
    with pytest.raises(OSError, match="No space left"):
        store.write(KEY, make_tensors(), {})
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


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """What was slept, on a clock of its own."""
    slept: list[float] = []
    monkeypatch.setattr(files.time, "sleep", slept.append)
    monkeypatch.setattr(files.time, "monotonic", lambda: sum(slept))
    return slept


def failing(number: int, times: float) -> Callable[[], None]:
    """A write that fails so many times."""
    tries = iter(range(100))

    def write() -> None:
        if next(tries) < times:
            raise OSError(number, os.strerror(number))

    return write


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_write_waits_for_a_folder_that_takes_nothing(number: int, pauses: list[float]) -> None:
    files.patiently(failing(number, 6))
    assert pauses == [0.5, 1, 2, 4, 8, 8]


def test_a_write_waits_no_longer_than_said(pauses: list[float]) -> None:
    with pytest.raises(OSError, match="No space left"):
        files.patiently(failing(errno.ENOSPC, 99))
    assert files.STORAGE_SECONDS - 8 < sum(pauses) <= files.STORAGE_SECONDS


def test_a_write_waits_for_nothing_else(pauses: list[float]) -> None:
    with pytest.raises(OSError, match="Permission denied"):
        files.patiently(failing(errno.EACCES, 1))
    with pytest.raises(OSError, match="No space left"):
        files.patiently(failing(errno.ENOSPC, 1), over=lambda: True)
    assert pauses == []


def test_a_folder_that_cannot_be_made_is_said_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FolderError, match=r"file/sweep: cannot be written \(Not a directory\); free space, mend its"):
        SweepFolder(tmp_path / "file" / "sweep").prepare()


def test_a_full_disk_is_said_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, *_: Any) -> None:
        path.touch()  # a name takes no room
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(FolderError, match=r"cannot be written \(No space left on device\).*choose another folder"):
        SweepFolder(tmp_path / "sweep").prepare()
    assert os.listdir(tmp_path / "sweep") == []


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


def test_the_size_of_a_file_of_a_folder_and_of_what_is_gone(tmp_path: Path) -> None:
    (tmp_path / "a" / ".b").mkdir(parents=True)
    (tmp_path / "a" / ".b" / "[x]").write_bytes(b"12345")
    (tmp_path / "a" / "c").write_bytes(b"67")
    assert [size(tmp_path / name) for name in ("a", "a/c", "gone")] == [7, 2, 0]
