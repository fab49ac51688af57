"""The stage store in an object store, as several machines see it."""

from __future__ import annotations

import logging
from collections.abc import Callable

import pytest
import torch

from orchestrator.engine.remote_folder import RemoteFolder

Machine = Callable[[str], RemoteFolder]
pytestmark = pytest.mark.slow
KEY, OTHER = "ab" * 32, "cd" * 32


def tensors(value: float) -> dict[str, torch.Tensor]:
    return {"w": torch.full((3,), value)}


def test_a_stage_is_seen_by_all_and_the_first_write_wins(machine: Machine) -> None:
    here, there = machine("here").store, machine("there").store
    assert not there.has(KEY)
    assert not there.knows(KEY)
    assert here.write(KEY, tensors(1), {"kind": "train"})
    assert there.has(KEY)
    assert not there.write(KEY, tensors(2), {"kind": "train"})
    for store in (here, there, machine("third").store):
        found, meta = store.read(KEY)
        assert found["w"].tolist() == [1, 1, 1]
        assert meta["kind"] == "train"
    assert machine("fourth").store.knows(KEY)
    assert here.stages() == there.stages() == [KEY]
    assert there.read(OTHER) is None


def damage(store, name: str, change: Callable[[bytes], bytes]) -> None:
    content = store.remote.get(name)
    assert content
    store.remote.put(name, change(content))


@pytest.mark.parametrize("what", ["record", "data", "no data"])
def test_damage_in_the_store_is_set_aside_and_made_anew(
    machine: Machine, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    here, there = machine("here").store, machine("there").store
    here.write(KEY, tensors(1), {"trial": "first"})
    (data,) = [name for name in here.remote.objects("stages") if "data-" in name]
    if what == "no data":
        here.remote.delete(data)
    else:
        damage(here, here._name(KEY) if what == "record" else data, lambda content: content[:-9] + b"X" + content[-8:])
    with caplog.at_level(logging.WARNING):
        assert there.read(KEY) is None
    assert "to be computed anew" in caplog.text
    assert [name for name in there.remote.objects("corrupt") if name.endswith("stage.json")]
    assert (there.record(KEY) or {}).get("trial") == (None if what == "record" else "first")
    assert there.write(KEY, tensors(1), {})
    assert machine("third").store.read(KEY)[0]["w"].tolist() == [1, 1, 1]


def test_a_damaged_copy_is_fetched_anew(machine: Machine) -> None:
    here, there = machine("here").store, machine("there").store
    here.write(KEY, tensors(1), {})
    there.read(KEY)
    for file, content in (("data.safetensors", b"damaged"), ("stage.json", b"{}")):
        (there.path(KEY) / file).write_bytes(content)
        assert there.read(KEY)[0]["w"].tolist() == [1, 1, 1]
    assert there.remote.objects("corrupt") == {}


def test_an_old_copy_of_a_record_does_no_harm_to_the_stage_made_since(machine: Machine) -> None:
    here, there = machine("here").store, machine("there").store
    here.write(KEY, tensors(1), {})
    assert there.meta(KEY)
    here.delete(KEY)
    here.write(KEY, tensors(2), {})
    assert there.read(KEY)[0]["w"].tolist() == [2, 2, 2]
    assert here.remote.objects("corrupt") == {}


def test_one_claims_a_stage_and_the_driver_frees_it(machine: Machine) -> None:
    here, there = machine("here").store, machine("there").store
    with here.claim(KEY, "run", "a") as mine, there.claim(KEY, "run", "b") as theirs:
        assert (mine, theirs) == (True, False)
        with there.claim(OTHER, "run", "b") as other:
            assert other
    assert here.remote.objects("claims") == {}

    with here.claim(KEY, "run", "a"):  # as of a worker that is taken for dead, and lives on
        there.free("run", "b")
        there.free("earlier", "a")
        there.free("run", "a", OTHER)
        with there.claim(KEY, "run", "a") as taken:
            assert not taken
        there.free("run", "a", KEY)
        held = there.claim(KEY, "run", "a")
        assert held.__enter__()
    with here.claim(KEY) as again:  # its end has not ended the other's claim
        assert not again
    held.__exit__(None, None, None)
    here.remote.put("claims/x", b"no json")
    here.free()
    assert here.remote.objects("claims") == {}


def test_failures_are_of_a_run(machine: Machine) -> None:
    here, there = machine("here").store, machine("there").store
    here.mark_failed(KEY, "run", "a")
    assert there.failed_in(KEY, "run") == "a"
    assert there.failed_in(KEY, "later") is None
    assert there.failed_in(OTHER, "run") is None
    here.remote.put(f"failures/{KEY}", b"damaged")
    assert there.failed_in(KEY, "run") is None


def test_a_checkpoint_is_continued_elsewhere(machine: Machine) -> None:
    here, there = machine("here").store, machine("there").store
    assert there.load_checkpoint(KEY) is None
    here.save_checkpoint(KEY, 10, tensors(1))
    here.save_checkpoint(KEY, 20, tensors(2))
    assert there.load_checkpoint(KEY)["w"].tolist() == [2, 2, 2]
    there.save_checkpoint(KEY, 30, tensors(3))
    here.save_checkpoint(KEY, 25, tensors(4))  # of one that was taken for dead
    assert machine("third").store.load_checkpoint(KEY)["w"].tolist() == [3, 3, 3]
    newest = max(here.remote.objects(f"checkpoints/{KEY}"))
    here.remote.put(newest, b"torn")
    assert machine("fourth").store.load_checkpoint(KEY)["w"].tolist() == [4, 4, 4]
    here.drop_checkpoint(KEY)
    assert here.remote.objects("checkpoints") == {}
    assert machine("fourth").store.load_checkpoint(KEY) is None


def test_what_nobody_needs_is_found_and_removed(machine: Machine) -> None:
    store = machine("here").store
    store.write(KEY, tensors(1), {})
    store.save_checkpoint(KEY, 1, tensors(1))
    store.save_checkpoint(OTHER, 1, tensors(1))
    store.mark_failed(OTHER, "run", "a")
    store.remote.put("claims/x", b"{}")
    store.remote.put(f"stages/cd/{OTHER}/data-x.safetensors", b"of one that was killed")
    left = store.litter({KEY})
    kinds = sorted(name.partition("/")[0] for name in left)
    assert kinds == ["checkpoints", "claims", "failures", "stages"]
    assert left[f"stages/cd/{OTHER}/data-x.safetensors"] == 22
    for name in left:
        store.discard(name)
    assert store.litter({KEY}) == {}
    size = store.size(KEY)
    assert size == sum(known.size for known in store.remote.objects("stages").values()) > 0
    assert store.delete(KEY) == size
    assert (store.stages(), store.read(KEY)) == ([], None)
