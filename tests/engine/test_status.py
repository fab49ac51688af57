"""How far a sweep is, from its files: states, epochs really trained, the slots' busy share by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from orchestrator.engine.files import write_sealed
from orchestrator.engine.folder import FolderError, SweepFolder
from orchestrator.engine.status import busy_share, epochs_trained, status


def _begin(time: float, run: str = "r", slots: int = 2) -> dict[str, Any]:
    return {"time": time, "begin": "key", "run": run, "slots": slots}


def _event(time: float, **fields: Any) -> dict[str, Any]:
    return {"time": time, **fields}


def test_epochs_trained_count_what_was_lost_too() -> None:
    first = [_begin(0), _event(1, steps=6, per_epoch=6), _event(2, steps=3, per_epoch=6)]
    again = [_begin(5), _event(6, steps=3, per_epoch=6), _event(7, step=9)]
    assert epochs_trained([first + again, [_event(1, steps=5, per_epoch=10)]]) == 2.5
    assert epochs_trained([]) == 0


def test_two_slots_busy_all_the_time() -> None:
    trials = [
        [_begin(0), _event(10, end="done")],
        [_begin(0), _event(4, end="done")],
        [_begin(4), _event(12, end="done")],
        [_begin(10), _event(13, end="done")],
    ]
    assert busy_share(trials) == (2, 1.0)


def test_a_slot_that_stands_empty_is_not_busy() -> None:
    """Two slots from 0 to 10, the second empty from 4 to 8: 16 of 20."""
    trials = [
        [_begin(0), _event(20, end="done")],
        [_begin(0), _event(4, end="done")],
        [_begin(8), _event(10, end="done")],
        [_begin(10), _event(15, end="done")],
    ]
    slots, share = busy_share(trials)
    assert slots == 2
    assert share == pytest.approx(16 / 20)


def test_waiting_for_another_trials_stage_is_not_work() -> None:
    """Two slots from 0 to 10; the second waits from 2 to 7: 15 of 20."""
    trials = [
        [_begin(0), _event(10, end="done")],
        [_begin(0), _event(2, stage="k", waiting=True), _event(7, stage="l", kind="train"), _event(10, end="done")],
        [_begin(10), _event(12, end="done")],
    ]
    slots, share = busy_share(trials)
    assert slots == 2
    assert share == pytest.approx(15 / 20)


def test_only_the_last_run_counts() -> None:
    trials = [
        [_begin(0, "old"), _event(3, stage="k"), _begin(100, "new", 1), _event(110, end="done")],
        [_begin(50, "old"), _event(60, end="done")],
        [_begin(110, "new", 1), _event(111, end="done")],
    ]
    assert busy_share(trials) == (1, 1.0)


def test_a_slot_in_which_nothing_ever_ran_counts() -> None:
    trials = [[_begin(at), _event(at + 5, end="done")] for at in (0, 5, 10)]
    assert busy_share(trials) == (2, 0.5)


def test_before_a_second_start_there_is_no_share() -> None:
    assert busy_share([]) == (0, None)
    assert busy_share([[_begin(0), _event(5, stage="k")]]) == (2, None)
    assert busy_share([[_begin(0)], [_begin(1)]]) == (2, 0.0)  # both load their data


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    """Five planned trials: done, failed, of an earlier plan, begun, untouched."""
    folder = SweepFolder(tmp_path)
    planned = [{"trial": name, "key": f"key {name}"} for name in ("done", "failed", "stale", "begun", "left")]
    write_sealed(folder.path / "plan.json", {"planned": planned, "epochs_distinct": 7.5, "run": "run"})
    for name, key in (("done", "key done"), ("failed", "key failed"), ("stale", "another key")):
        state = "failed" if name == "failed" else "done"
        error = {"type": "ValueError", "message": "no luck\nat all"} if state == "failed" else None
        result = {"status": state, "key": key, "metrics": {"accuracy/test": 0.5}, "error": error, "blocked_by": None}
        write_sealed(folder.trial(name) / "result.json", result)
    folder.tell("begun", {"begin": "key begun", "run": "run", "slots": 1})
    folder.tell("begun", {"step": 3, "steps": 3, "per_epoch": 6})
    return folder


def test_states_without_a_driver(folder: SweepFolder) -> None:
    found = status(folder)
    assert found["counts"] == {
        "done": 1,
        "diverged": 0,
        "running": 0,
        "dropped": 0,
        "failed": 1,
        "blocked": 0,
        "left": 3,
    }
    assert (found["trials"], found["driver"], found["running"]) == (5, None, [])
    assert found["bad"] == {"failed": "failed"}
    assert found["states"]["done"] == {"state": "done", "accuracy/test": 0.5, "why": ""}
    assert found["states"]["failed"]["why"] == "ValueError: no luck"
    assert found["states"]["stale"] == {"state": "left"}
    assert (found["epochs_trained"], found["epochs_distinct"]) == (0.5, 7.5)
    assert (found["stages"], found["store_bytes"]) == (0, 0)


def test_a_trial_that_has_begun_runs_while_a_driver_lives(folder: SweepFolder) -> None:
    with folder.driving():
        found = status(folder)
        assert found["running"] == ["begun"]
        assert found["counts"]["running"] == 1
        folder.tell("begun", {"end": "stopped"})
        assert status(folder)["running"] == []


def test_what_a_killed_driver_left_unfinished_does_not_run(folder: SweepFolder) -> None:
    folder.tell("left", {"begin": "key left", "run": "an earlier one", "slots": 1})
    with folder.driving():
        assert status(folder)["running"] == ["begun"]


def test_a_damaged_event_is_passed_over(folder: SweepFolder) -> None:
    with open(folder.trial("begun") / "events.jsonl", "ab") as file:
        file.write(b'{"st\xff\xfe\n[1]\n{"no": "time"}\n7\n')
    folder.tell("begun", {"step": 6, "steps": 3, "per_epoch": 6})
    assert [set(event) - {"time"} for event in folder.events("begun")] == [
        {"begin", "run", "slots"},
        {"step", "steps", "per_epoch"},
        {"step", "steps", "per_epoch"},
    ]
    assert status(folder)["epochs_trained"] == 1


def test_stages_that_vanish_meanwhile_count_nothing(folder: SweepFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("glob.glob", lambda *_, **__: ["stages/ab/gone/stage.json"])
    assert status(folder)["store_bytes"] == 0


def test_the_stores_size_is_that_of_its_stages(folder: SweepFolder) -> None:
    import torch

    key = "cd" + "0" * 62
    folder.store.write(key, {"a": torch.zeros(100)}, {})
    left = folder.store.path(key).with_name(".cd00.12345678.tmp")
    left.mkdir()
    (left / "stage.json").write_text("{}")
    found = status(folder)
    assert found["stages"] == 1
    assert found["store_bytes"] >= folder.store.size(key) > 400


def test_a_folder_without_a_sweep_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(FolderError, match=r"no sweep here .*; name the folder that `jackpot run` made"):
            status(SweepFolder(path))
