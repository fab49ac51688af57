"""What every method must hold on every kind of network. A method that a package adds is tested as well, as soon
as the package is installed."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from methods import budget, registry
from orchestrator.api import load_ticket
from orchestrator.engine import bench as bench_module
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.plan import make_plan
from orchestrator.engine.setting import Setting
from orchestrator.engine.train import Trainer
from orchestrator.engine.trial import run_trial
from orchestrator.engine.watch import Stopped, Watch
from orchestrator.spec.models import Spec

OPTIONS: dict[str, dict[str, Any]] = {
    "snip": {"per_class": 3, "batches": 2},
    "lottery": {"fraction": 0.4, "rewind_to": "4it"},
}
"""Options that make a method short, or let it do all that it can."""

NETS: dict[str, dict[str, Any]] = {
    "plain": {"name": "conformance_nets:plain"},
    "residual": {"name": "resnet8", "width": 0.25},  # with projections
    "linears": {"name": "conformance_nets:linears"},
    "depthwise": {"name": "conformance_nets:depthwise"},
    "grouped": {"name": "conformance_nets:grouped"},
    "shared": {"name": "conformance_nets:shared"},
}
STEPS = 6
pytestmark = [
    pytest.mark.parametrize("method", registry.names()),
    pytest.mark.parametrize("net", NETS),
]
Tensors = dict[str, torch.Tensor]


@pytest.fixture
def spec_of(make_spec: Callable[..., Spec], method: str, net: str) -> Callable[..., Spec]:
    """A spec of one method on one network: one epoch of 6 steps, with all that could move a removed weight."""

    def make(**changes: Any) -> Spec:
        return make_spec(
            recipe={"epochs": 1, "nesterov": True, "weight_decay": 0.05, "augmentation": {"crop": 1}},
            model=NETS[net],
            methods=[{"name": method, **OPTIONS.get(method, {})}],
            **{"sparsities": [0.7], **changes},
        )

    return make


def _run(spec: Spec, folder: Path, **watch: Any) -> dict[str, dict[str, Any]]:
    """Run every trial of a spec; the results by trial."""
    plan, sweep = make_plan(spec), SweepFolder(folder)
    found = {}
    for planned in plan.planned:
        setting = Setting(spec, planned.trial.model)
        around = Watch(trial=planned.id, **{**plan.instructions(planned), **watch})
        found[planned.id] = run_trial(sweep, setting, planned.trial, planned.chain.key, around)
        assert found[planned.id]["status"] == "done", found[planned.id]["error"]
    return found


def _ticket(folder: Path) -> dict[str, Tensors]:
    (path,) = (folder / "trials").iterdir()
    ticket = load_ticket(path)
    return {"masks": ticket.masks, "start": ticket.start, "weights": ticket.weights}


def _same(left: Tensors, right: Tensors) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


class _WatchedTrainer(Trainer):
    """Looks after every step of the optimiser whether a removed weight has moved."""

    steps = 0
    masked_steps = 0

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)

        def look(*_: Any) -> None:
            type(self).steps += 1
            type(self).masked_steps += bool(self.masking.factors)
            for name, mask in self.masking.factors.items():
                assert not self.masking.parameters[name][mask == 0].any(), f"a removed weight of {name} moved"

        self.optimiser.register_step_post_hook(look)


@pytest.mark.parametrize("sparsity", [0.7, 0.001, 0.85])
def test_it_keeps_exactly_the_budget_and_no_removed_weight_moves(
    spec_of: Callable[..., Spec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sparsity: float, method: str
) -> None:
    monkeypatch.setattr(bench_module, "Trainer", _WatchedTrainer)
    monkeypatch.setattr(_WatchedTrainer, "steps", 0)
    monkeypatch.setattr(_WatchedTrainer, "masked_steps", 0)
    spec = spec_of(sparsities=[sparsity])
    plan = make_plan(spec)
    (planned,) = plan.planned
    (result,) = _run(spec, tmp_path).values()
    layers = Setting(spec, spec.model[0]).layers
    keep = budget.kept(budget.total(layers), planned.trial.sparsity)
    assert sum(layer["kept"] for layer in result["layers"]) == keep
    assert result["metrics"]["sparsity/global"] == pytest.approx(1 - keep / budget.total(layers), abs=1e-12)
    assert _WatchedTrainer.steps == round(plan.epochs_distinct * STEPS)
    assert _WatchedTrainer.masked_steps > 0 or method == "dense"
    ticket = _ticket(tmp_path)
    assert sorted(ticket["masks"]) == sorted(layer.name for layer in layers)
    for layer in layers:
        mask, weight = ticket["masks"][layer.name], ticket["weights"][layer.parameter]
        assert mask.shape == weight.shape == layer.shape
        assert not weight[~mask].any()


def test_a_seed_gives_one_ticket_and_another_seed_another(
    spec_of: Callable[..., Spec], tmp_path: Path, method: str
) -> None:
    tickets = []
    for name, seed in (("first", 3), ("same", 3), ("other", 4)):
        _run(spec_of(seeds=[seed]), tmp_path / name)
        tickets.append(_ticket(tmp_path / name))
    first, same, other = tickets
    for part in first:
        assert _same(first[part], same[part]), part
    assert _same(first["masks"], other["masks"]) == (method == "dense")
    assert not _same(first["start"], other["start"])
    assert not _same(first["weights"], other["weights"])


def test_stopped_at_any_step_it_goes_on_to_the_same_bits(
    spec_of: Callable[..., Spec], tmp_path: Path, method: str, net: str
) -> None:
    spec = spec_of()
    looks: list[int] = []

    def count() -> bool:
        looks.append(1)
        return False

    _run(spec, tmp_path / "whole", stopping=count)
    stop_at = random.Random(f"{method} {net}").randrange(len(looks))
    looks.clear()

    def stop() -> bool:
        looks.append(1)
        return len(looks) > stop_at

    with pytest.raises(Stopped):
        _run(spec, tmp_path / "stopped", stopping=stop)
    _run(spec, tmp_path / "stopped")
    whole, stopped = _ticket(tmp_path / "whole"), _ticket(tmp_path / "stopped")
    for part in whole:
        assert _same(whole[part], stopped[part]), f"{part}, stopped at look {stop_at}"


def test_it_asks_for_what_it_planned_and_epochs_add_up(spec_of: Callable[..., Spec], tmp_path: Path) -> None:
    spec = spec_of(sparsities=[0.5, 0.7], seeds=[0, 1])
    plan = make_plan(spec)
    results = _run(spec, tmp_path)
    for planned in plan.planned:
        asked = [stage["key"] for stage in results[planned.id]["chain"]]
        assert asked == [request.key for request in planned.chain.requests]
        assert results[planned.id]["metrics"]["cost/epochs"] == pytest.approx(float(planned.epochs), abs=1e-12)
    new = sum(result["metrics"]["cost/epochs_new"] for result in results.values())
    assert new == pytest.approx(plan.epochs_distinct, abs=1e-9)
    made = {request.key for planned in plan.planned for request in planned.chain.requests}
    pieces = {key for planned in plan.planned for key in plan.segments(planned)}
    assert set(SweepFolder(tmp_path).store.stages()) == made | pieces
