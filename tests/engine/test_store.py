"""The stage store: stages and checkpoints are whole or absent, the first write wins, damage is found."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from stage_files import KEY, make_tensors

from orchestrator.engine.files import write_sealed
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.store import Store

# Whole or absent


def test_a_stage_is_read_as_it_was_written(store: Store) -> None:
    assert store.read(KEY) is None
    assert not store.has(KEY)
    assert store.write(KEY, make_tensors(), {"kind": "train", "steps": 3})
    found = store.read(KEY)
    assert found is not None
    tensors, meta = found
    assert torch.equal(tensors["a"], make_tensors()["a"])
    assert tensors["b"].dtype == torch.int64
    assert (meta["kind"], meta["steps"], meta["key"]) == ("train", 3, KEY)
    assert store.stages() == [KEY]
    assert store.size(KEY) == sum(file.stat().st_size for file in store.path(KEY).iterdir())


def test_the_first_complete_write_wins(store: Store) -> None:
    assert store.write(KEY, make_tensors(1.0), {"by": "first"})
    assert not store.write(KEY, make_tensors(2.0), {"by": "second"})
    tensors, meta = store.read(KEY) or ({}, {})
    assert meta["by"] == "first"
    assert torch.equal(tensors["a"], make_tensors(1.0)["a"])


def test_tensors_that_share_memory_are_kept(store: Store) -> None:
    weight = torch.arange(6.0)
    store.write(KEY, {"left": weight, "right": weight}, {})
    tensors, _ = store.read(KEY) or ({}, {})
    assert torch.equal(tensors["left"], tensors["right"])


def test_a_deleted_stage_is_gone_and_can_be_written_again(store: Store) -> None:
    store.write(KEY, make_tensors(), {})
    size = store.size(KEY)
    assert store.delete(KEY) == size
    assert not store.has(KEY)
    assert store.stages() == []
    assert store.write(KEY, make_tensors(), {})


def test_a_deletion_that_was_killed_half_way_leaves_room_for_the_stage(store: Store) -> None:
    store.write(KEY, make_tensors(1.0), {})
    (store.path(KEY) / "stage.json").unlink()
    assert not store.has(KEY)
    assert store.write(KEY, make_tensors(2.0), {})
    tensors, _ = store.read(KEY) or ({}, {})
    assert tensors["b"] == 2


def test_what_a_killed_writer_left_is_no_stage(store: Store) -> None:
    store.write(KEY, make_tensors(), {})
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
    store.write(KEY, make_tensors(1.0), {})
    damage(store.path(KEY) / name)
    with caplog.at_level(logging.WARNING):
        assert store.read(KEY) is None
    if not (name == "stage.json" and damage is Path.unlink):  # that one was never complete
        assert "stage set aside as" in caplog.text
        assert "to be computed anew" in caplog.text
        assert KEY in caplog.text
        assert len(list((store.folder / "corrupt").iterdir())) == 1
    assert store.write(KEY, make_tensors(2.0), {})
    tensors, _ = store.read(KEY) or ({}, {})
    assert tensors["b"] == 2


def test_a_stage_that_was_made_anew_meanwhile_stays(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    store.write(KEY, make_tensors(1.0), {})
    store.set_aside(KEY, "damaged, when another process looked")
    assert store.read(KEY) is not None
    assert "set aside" not in caplog.text
    assert store.size(KEY) > 0


def test_the_record_of_a_stage_that_was_set_aside_is_known_until_it_is_made_anew(store: Store) -> None:
    assert store.record(KEY) is None
    store.write(KEY, make_tensors(1.0), {"trial": "first"})
    _flip(store.path(KEY) / "data.safetensors")
    assert store.read(KEY) is None
    assert (store.meta(KEY), (store.record(KEY) or {})["trial"]) == (None, "first")
    assert store.record("f" * 64) is None
    store.write(KEY, make_tensors(1.0), {"trial": "second"})
    assert (store.record(KEY) or {})["trial"] == "second"


@pytest.mark.parametrize("damage", [_truncate, _flip, _empty])
def test_what_was_read_and_checked_stays_as_it_was(store: Store, damage: Any) -> None:
    store.write(KEY, make_tensors(), {"kind": "train"})
    found = store.read(KEY)
    assert found is not None
    damage(store.path(KEY) / "data.safetensors")  # in place, as a disk or another machine does
    assert torch.equal(found[0]["a"], make_tensors()["a"])
    assert store.read(KEY) is None


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


# Checkpoints


def test_the_newest_whole_checkpoint_is_read(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    assert store.load_checkpoint(KEY) is None
    store.save_checkpoint(KEY, 5, make_tensors(5))
    folder = store.folder / "checkpoints" / KEY
    (old,) = folder.glob("*.safetensors")
    content = old.read_bytes()
    store.save_checkpoint(KEY, 12, make_tensors(12))
    (new,) = folder.glob("*.safetensors")
    assert (store.load_checkpoint(KEY) or {})["b"] == 12
    old.write_bytes(content)  # as a kill before the earlier one is removed leaves it
    assert (store.load_checkpoint(KEY) or {})["b"] == 12
    _flip(new)
    assert (store.load_checkpoint(KEY) or {})["b"] == 5
    assert "checkpoint is left out" in caplog.text
    store.drop_checkpoint(KEY)
    assert store.load_checkpoint(KEY) is None
    store.drop_checkpoint(KEY)


def test_a_half_written_checkpoint_is_not_read(store: Store) -> None:
    store.save_checkpoint(KEY, 5, make_tensors(5))
    folder = store.folder / "checkpoints" / KEY
    (whole,) = folder.glob("*.safetensors")
    (folder / ".new.12345678.tmp").write_bytes(whole.read_bytes()[:100])
    (folder / "new").write_bytes(whole.read_bytes())
    assert (store.load_checkpoint(KEY) or {})["b"] == 5
