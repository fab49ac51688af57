"""The course of filter and layer pruning: its stages, its rounds, and its search for a latency."""

from __future__ import annotations

import re
from typing import Any

import pytest
from benches import EPOCHS, PER_EPOCH, RecordingBench
from pydantic import ValidationError

from methods.bench import Stage, Workbench
from methods.structure.course import StructuralPruning
from methods.structure.filters import FilterPrune
from methods.structure.layers import LayerPrune
from methods.structure.reach import fewest

UNITS, END = 16, PER_EPOCH * EPOCHS
SCORE = "scores({}, {{'criterion': 'weight_norm', 'batch': 64, 'batches': None}})"


def scores(bench: Any, weights: Any, **options: Any) -> Any:
    raise NotImplementedError


def without(bench: Any, weights: Any, scores: Any, **options: Any) -> Any:
    raise NotImplementedError


class Course(StructuralPruning):
    name, granularity = "course", "filter"

    def units(self, bench: Workbench) -> int:
        return UNITS

    def reachable(self, bench: Workbench, target: str) -> float | None:
        return 0.6


Course.scores, Course.without = scores, without


class CourseBench(RecordingBench):
    """Removing `count` of the units makes the network `speed(count)` times as fast."""

    latency_batches = (1, 64)

    def __init__(self, sparsity: str, speed: Any = lambda count: 1 / (1 - count / UNITS / 1.25)) -> None:
        super().__init__((), sparsity)
        self.speed = speed
        self.questions: list[tuple[int, str]] = []

    def latency(self, weights: Stage) -> Stage:
        return self._stage(f"latency({weights.key})")

    def ask(self, stage: Stage, name: str, otherwise: float) -> float:
        count = int(re.findall(r"'count': (\d+)", stage.key)[-1])
        self.questions.append((count, name))
        return self.speed(count)


class Planning(CourseBench):
    """As a sweep is planned: every answer is the one that leads to the longest course."""

    def ask(self, stage: Stage, name: str, otherwise: float) -> float:
        return otherwise


def removed(stage: str) -> int:
    return int(re.findall(r"'count': (\d+)", stage)[-1])


def test_train_score_remove_train_again() -> None:
    bench = CourseBench("0.5")
    ticket = Course().find(bench)
    dense = f"train(init, dense, 0-{END})"
    score = SCORE.format(dense)
    smaller = f"without({dense}, {score}, {{'target': 'sparsity', 'fraction': '0.5'}})"
    assert bench.asked == ["init", dense, score, smaller]
    assert (ticket.weights.key, ticket.weights.step, ticket.trained) == (smaller, 0, None), "the whole schedule again"


def test_rounds_remove_equal_parts_of_the_target() -> None:
    bench = CourseBench("0.6")
    Course(rounds=3, target="macs").find(bench)
    assert re.findall(r"'fraction': '([\d.]+)'\}\)$", "\n".join(bench.asked), re.M) == ["0.2", "0.4", "0.6"]
    trained = [stage for stage in bench.asked if stage.startswith("train(")]
    assert len(trained) == 3, "the dense network, and once between rounds; the last is the ticket's own"


def test_training_from_another_step() -> None:
    ticket = Course(rewind_to="3ep").find(CourseBench("0.5"))
    assert ticket.weights.step == 3 * PER_EPOCH


def test_fine_tuning_has_its_own_recipe() -> None:
    bench = CourseBench("0.5")
    ticket = Course(tune_epochs=2, tune_lr=0.01).find(bench)
    assert ticket.trained is not None
    assert ticket.trained.step == 2 * PER_EPOCH
    assert "{'epochs': 2, 'lr': 0.01, 'schedule': {'name': 'constant'}}" in ticket.trained.key
    with pytest.raises(ValidationError, match="tune_epochs and tune_lr go together"):
        Course.Options(tune_epochs=2)


@pytest.mark.parametrize(("sparsity", "count"), [("0.05", 1), ("0.3", 6), ("0.5", 10), ("0.75", 15), ("0.8", 16)])
def test_as_few_units_as_make_it_fast_enough(sparsity: str, count: int) -> None:
    bench = CourseBench(sparsity)  # the time falls by a twentieth with each unit
    ticket = Course(target="latency").find(bench)
    assert removed(ticket.weights.key) == count
    assert {name for _, name in bench.questions} == {"speedup/b1"}
    assert len(bench.questions) == 5, "whether all sixteen are enough, and four halvings"


def test_a_search_is_never_longer_than_planned() -> None:
    planned = Planning("0.5")
    Course(target="latency", rounds=2).find(planned)
    for speed in (lambda count: 1 + count, lambda count: 2.0 if count == UNITS else 1.0):
        bench = CourseBench("0.5", speed)
        Course(target="latency", rounds=2).find(bench)
        kinds = [[stage.split("(")[0] for stage in own.asked] for own in (planned, bench)]
        assert all(kinds[1].count(kind) <= kinds[0].count(kind) for kind in set(kinds[1]))


def test_a_plan_counts_each_fraction() -> None:
    counts = [removed(Course(target="latency").find(Planning(sparsity)).weights.key) for sparsity in ("0.25", "0.5")]
    assert counts == [4, 8], "as if time fell with each unit"


def test_the_batch_whose_time_is_the_target() -> None:
    bench = CourseBench("0.5")
    Course(target="latency", latency_batch=64).find(bench)
    assert {name for _, name in bench.questions} == {"speedup/b64"}
    with pytest.raises(ValueError, match="latency_batch: 8") as caught:
        Course(target="latency", latency_batch=8).find(CourseBench("0.5"))
    assert str(caught.value) == ("latency_batch: 8 is none of the spec's latency.batches (1, 64); choose one of these")


def test_a_latency_that_no_removal_reaches_is_refused() -> None:
    bench = CourseBench("0.5", lambda count: 1.5)
    with pytest.raises(ValueError, match="as fast") as caught:
        Course(target="latency").find(bench)
    assert str(caught.value) == (
        "without all 16 filters that can go the network is 1.5 times as fast, and 2 is asked for: lower the sparsity, "
        "or measure a larger `latency_batch`"
    )
    assert len(bench.questions) == 1, "before any search"


def test_sparsity_zero_removes_nothing_and_measures_nothing() -> None:
    bench = CourseBench("0")
    ticket = Course(target="latency").find(bench)
    assert (removed(ticket.weights.key), bench.questions) == (0, [])


def test_a_target_that_all_units_do_not_reach_is_refused_before_any_training() -> None:
    bench = CourseBench("0.7")
    with pytest.raises(ValueError, match="course can remove") as caught:
        Course(target="macs").find(bench)
    assert str(caught.value) == (
        "course can remove 60 % of the multiply-accumulates of this network, and 70 % are asked for; lower the sparsity"
    )
    assert bench.asked == []


@pytest.mark.parametrize("units", [0, 1, 7, 8])
def test_the_fewest_units_that_reach(units: int) -> None:
    for needed in range(units + 1):
        assert fewest(units, lambda number, needed=needed: number >= needed) == needed
    assert fewest(units, lambda number: False) == units


def test_both_arms_have_the_same_options_but_for_the_channel_ratio() -> None:
    filters, layers = FilterPrune.Options.model_fields, LayerPrune.Options.model_fields
    assert filters.keys() - layers.keys() == {"ratio", "ratios"}
    assert all(filters[name].default == field.default for name, field in layers.items())
