"""Training on the bench of a plan: what it asks for, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest

from methods import registry
from methods.step import Step
from orchestrator.engine.planning import PlanningBench
from orchestrator.engine.setting import Setting
from orchestrator.spec.models import Spec

MakeSpec = Callable[..., Spec]

# Training on the bench


def _bench(spec: Spec) -> PlanningBench:
    return PlanningBench(Setting(spec, spec.model[0]), registry.get("lottery"), 0, Decimal("0.5"))


def test_training_to_where_the_weights_stand_asks_for_nothing(make_spec: MakeSpec) -> None:
    bench = _bench(make_spec())
    weights = bench.initialise()
    assert bench.train(weights, until=Step.parse("0ep")) == weights
    half = bench.train(weights, until=Step.parse("1ep"))
    assert half.step == 6
    assert bench.train(half, until=Step.parse("6it")) == half
    assert [request.kind for request in bench.requests.values()] == ["initialise", "train"]


def test_steps_outside_the_schedule_are_refused(make_spec: MakeSpec) -> None:
    bench = _bench(make_spec())
    weights = bench.initialise()
    with pytest.raises(
        ValueError, match=r"cannot train until 13it: .* step 0 of a schedule of 12 steps \(2 epochs of 6"
    ):
        bench.train(weights, until=Step.parse("13it"))
    with pytest.raises(ValueError, match=r"cannot train until 0\.5ep: the weights stand at step 6"):
        bench.train(bench.train(weights, until=Step.parse("1ep")), until=Step.parse("0.5ep"))


def test_dense_masks_and_none_are_one_training(make_spec: MakeSpec) -> None:
    bench = _bench(make_spec())
    weights = bench.initialise()
    assert bench.train(weights) == bench.train(weights, bench.dense_masks())


def test_a_planning_bench_hands_out_no_data(make_spec: MakeSpec) -> None:
    bench = _bench(make_spec())
    for use in (lambda: bench.net({}), lambda: bench.scoring_batch(1), lambda: bench.generator("x")):
        with pytest.raises(RuntimeError, match="only a function given to `compute` may"):
            use()
