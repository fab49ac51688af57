"""Training on the bench of a plan: what it asks for, and what it refuses."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
import torch

from methods import registry
from methods.random import random_masks
from methods.step import Step
from orchestrator.engine.nets import build
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


def test_weights_of_the_spec_stand_in_for_their_own_training_alone(make_spec: MakeSpec, tmp_path: Path) -> None:
    model = {"name": "convnet", "width": 0.25}
    spec = make_spec()
    net = build(spec.model[0], 10, (1, 8, 8), seed=0)
    torch.save(net.state_dict(), tmp_path / "given.pt")
    bench = _bench(make_spec(model={**model, "weights": str(tmp_path / "given.pt")}))
    given = bench.initialise()
    assert bench.train(given) == given
    drawn_anew = bench.compute(random_masks, given, keep=[1])
    assert bench.train(drawn_anew) != drawn_anew
    assert [request.kind for request in bench.requests.values()] == ["initialise", "compute", "train"]
