"""What pieces of trials take: gone through for real, with few steps."""

import pytest

from orchestrator.engine import few_steps, rehearser
from orchestrator.engine.few_steps import enough, mean_step
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.plan import make_plan
from orchestrator.engine.rehearsal import Rehearsal, _mean, _together
from orchestrator.engine.rehearser import Piece, Rehearsed, Rehearser, cell_of
from orchestrator.spec.models import Spec


@pytest.fixture
def plan(monkeypatch):
    """A dense trial, one with masks, one that changes them on its way, and one with fewer filters."""
    monkeypatch.setattr(few_steps, "SECONDS", 0.0)
    monkeypatch.setattr(few_steps, "EVALUATION_SECONDS", 0.0)
    return make_plan(
        Spec.model_validate(
            {
                "name": "small",
                "data": {"name": "fake", "shape": [1, 8, 8], "classes": 3, "train": 120, "test": 12},
                "model": {"name": "convnet", "width": 0.5},
                "recipe": {"epochs": 2, "batch": 32},
                "methods": [
                    "dense",
                    {"name": "lottery", "fraction": 0.5},
                    {"name": "set", "every": "1it"},
                    "random_filter",
                ],
                "sparsities": [0.5, 0.3],
            }
        )
    )


@pytest.fixture
def gone_through(plan, tmp_path):
    spec = plan.planned[0].chain.requests[0].bench.setting.spec
    one = Rehearser(spec, SweepFolder(tmp_path))
    trials = sorted((planned.trial for planned in plan.planned), key=lambda trial: -trial.sparsity)
    one.warm_up(trials[0])
    return one, {said["cell"]: said.get("rehearsed", said.get("error")) for said in one.run(trials, 60)}


def test_every_stage_of_a_trial_has_its_piece(plan, gone_through):
    _, found = gone_through
    by_cell = {cell_of(planned.trial): planned for planned in plan.planned}
    for cell, rehearsed in found.items():
        kinds = [piece.kind for piece in rehearsed.pieces]
        assert kinds == [request.kind for request in by_cell[cell].chain.requests]
        assert all((piece.step > 0) == (piece.kind == "train") for piece in rehearsed.pieces)
        assert all((piece.test > 0) == (piece.kind == "evaluate") for piece in rehearsed.pieces)
        assert all((piece.validation > 0) == (piece.kind in ("train", "evaluate")) for piece in rehearsed.pieces)
        assert rehearsed.around > 0


def test_a_method_whose_networks_stay_dense_is_gone_through_once(gone_through):
    _, found = gone_through
    assert sorted((label, sparsity) for _, label, sparsity in found) == [
        ("dense", "0"),
        ("lottery-fraction0.5", "0.5"),
        ("random_filter", "0.3"),
        ("random_filter", "0.5"),
        ("set-1it", "0.5"),
    ]
    dense = {label: rehearsed.dense for (_, label, _), rehearsed in found.items()}
    assert dense == {"dense": True, "lottery-fraction0.5": True, "set-1it": True, "random_filter": False}


def test_a_step_is_timed_once_for_each_structure_with_masks_and_without(gone_through):
    one, _ = gone_through
    assert len(one.timings.steps) == 4  # dense, masked, and the networks of two sparsities, whose masks keep all
    assert len(one.timings.evaluations) == 3


def test_a_trial_that_fails_says_why(plan, tmp_path, monkeypatch):
    spec = plan.planned[0].chain.requests[0].bench.setting.spec

    def fail(*_):
        raise ValueError("no ticket here")

    monkeypatch.setattr(rehearser, "follow", fail)
    trial = plan.planned[0].trial
    assert list(Rehearser(spec, SweepFolder(tmp_path)).run([trial], 60)) == [
        {"cell": cell_of(trial), "error": "ValueError: no ticket here"}
    ]


def test_the_first_steps_do_not_count():
    assert mean_step([0, 10, 15, 18, 19, 20, 23]) == pytest.approx(5 / 3)
    assert mean_step([0, 10, 30]) == 20  # where there are no others


def test_how_long_a_training_is_timed():
    assert not enough([0.0, 0.1])
    assert not enough([0.05 * n for n in range(9)])  # 8 steps, of less than a second
    assert enough([0.2 * n for n in range(9)])
    assert not enough([0.2 * n for n in range(8)])  # of more than a second, but too few
    assert enough([0.0, 4.0, 8.1])  # too slow for more


def test_what_processes_say_is_averaged():
    piece = Piece("train", 1.0, step=2.0, validation=3.0, test=0.0)
    longer = Rehearsed((piece, Piece("train", 3.0, step=4.0, validation=5.0)), 0.1)
    other = Rehearsed((Piece("train", 2.0, step=4.0, validation=3.0), piece), 0.3)
    mean = _mean([longer, other, Rehearsed((piece,), 9.0)])
    assert mean == Rehearsed((Piece("train", 1.5, 3.0, 3.0), Piece("train", 2.0, 3.0, 4.0)), pytest.approx(0.2))
    cell = ("net", "dense", "0")
    said = [
        {"start": 4.0}, {"cell": cell, "rehearsed": other}, {"start": 6.0}, {"cell": cell, "error": "no memory"},
        {"model": "net", "latency": 2.0},
    ]  # fmt: skip
    assert _together(said) == Rehearsal({cell: other}, {"net": 2.0}, 5.0, {cell: "no memory"})
