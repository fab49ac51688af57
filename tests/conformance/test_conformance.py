"""What every method must hold on every kind of network. A method that a package adds is tested as well, as soon
as the package is installed."""

from __future__ import annotations

import random
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import torch
from conformance_table import NETS, OPTIONS, SERVED, UNTRAINED_REFUSED, is_structural, sections, sparsities
from safetensors import safe_open
from safetensors.torch import save_file

from methods import budget
from orchestrator.api import export, load_ticket
from orchestrator.engine import bench as bench_module
from orchestrator.engine import nets
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.plan import make_plan, plan_trial
from orchestrator.engine.setting import Setting
from orchestrator.engine.train import Trainer
from orchestrator.engine.trial import run_trial
from orchestrator.engine.trials import Trial
from orchestrator.engine.watch import Stopped, Watch
from orchestrator.spec.arms import arms
from orchestrator.spec.models import Spec
from orchestrator.spec.problems import SpecError

STEPS = 6
pytestmark = pytest.mark.parametrize(("method", "net"), SERVED)
Tensors = dict[str, torch.Tensor]


@pytest.fixture
def spec_of(make_spec: Callable[..., Spec], method: str, net: str) -> Callable[..., Spec]:
    """Makes the spec of the method on the network, with these changes."""
    return lambda **changes: make_spec(**{**sections(method, net), **changes})


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
    """The only trial's."""
    (path,) = (folder / "trials").iterdir()
    return _ticket_of(path)


def _ticket_of(trial: Path) -> dict[str, Tensors]:
    ticket = load_ticket(trial, allow_code=True)
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


@pytest.mark.parametrize("large", [False, True], ids=("usual", "large"))
def test_it_keeps_exactly_the_budget_and_no_removed_weight_moves(
    spec_of: Callable[..., Spec], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, large: bool, method: str
) -> None:
    monkeypatch.setattr(bench_module, "Trainer", _WatchedTrainer)
    monkeypatch.setattr(_WatchedTrainer, "steps", 0)
    monkeypatch.setattr(_WatchedTrainer, "masked_steps", 0)
    spec = spec_of(sparsities=[float(sparsities(method)[2 if large else 1])])
    plan = make_plan(spec)
    (planned,) = plan.planned
    (result,) = _run(spec, tmp_path).values()
    layers = Setting(spec, spec.model[0]).layers
    keep = budget.kept(budget.total(layers), planned.trial.sparsity)
    kept = sum(layer["kept"] for layer in result["layers"])
    assert kept == keep or (is_structural(method) and kept < keep)
    assert result["metrics"]["sparsity/global"] == pytest.approx(1 - kept / budget.total(layers), abs=1e-12)
    assert _WatchedTrainer.steps == round(result["metrics"]["cost/epochs_new"] * STEPS)
    assert _WatchedTrainer.steps <= round(plan.epochs_distinct * STEPS)
    assert _WatchedTrainer.steps == round(plan.epochs_distinct * STEPS) or planned.chain.bounded
    assert _WatchedTrainer.masked_steps > 0 or method == "dense" or is_structural(method)
    ticket = _ticket(tmp_path)
    there = [layer for layer in layers if layer.parameter in ticket["weights"]]
    assert sorted(ticket["masks"]) == sorted(layer.name for layer in there)
    assert there == list(layers) or is_structural(method)
    for layer in there:
        mask, weight = ticket["masks"][layer.name], ticket["weights"][layer.parameter]
        assert mask.shape == weight.shape
        assert mask.shape == layer.shape or is_structural(method)
        assert mask.all() or not is_structural(method)
        assert not weight[~mask].any()
    assert result["collapsed"] == [name for name, mask in ticket["masks"].items() if not mask.any()]
    _export_and_reload(tmp_path, ticket)


def _export_and_reload(folder: Path, ticket: dict[str, Tensors]) -> None:
    (trial,) = (folder / "trials").iterdir()
    export(trial, folder / "ticket.safetensors", allow_code=True)
    with safe_open(folder / "ticket.safetensors", "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
    assert _same({n.removeprefix("mask/"): t for n, t in tensors.items() if n.startswith("mask/")}, ticket["masks"])
    assert _same({n: t for n, t in tensors.items() if not n.startswith("mask/")}, ticket["weights"])


def test_sparsity_0_keeps_every_weight(spec_of: Callable[..., Spec], tmp_path: Path) -> None:
    spec = spec_of()
    setting = Setting(spec, spec.model[0])
    trial = Trial(spec.model[0], arms(spec)[0], Decimal(0), seed=0)
    result = run_trial(SweepFolder(tmp_path), setting, trial, plan_trial(setting, trial).chain.key, Watch())
    assert result["status"] == "done", result["error"]
    assert result["metrics"]["sparsity/global"] == 0.0
    assert all(mask.all() for mask in _ticket(tmp_path)["masks"].values())
    assert result["metrics"]["macs"] == result["metrics"]["macs/dense"]


def test_where_all_weights_are_equal_the_count_is_exact(
    spec_of: Callable[..., Spec], tmp_path: Path, method: str, net: str
) -> None:
    setting = Setting(spec_of(), spec_of().model[0])
    weights = nets.build(setting.model, len(setting.data.classes), setting.data.shape, seed=0).state_dict()
    for layer in setting.layers:
        weights[layer.parameter] = torch.full(layer.shape, 0.05)
    save_file({name: value.clone() for name, value in weights.items()}, tmp_path / "equal.safetensors")
    options = {key: value for key, value in OPTIONS.get(method, {}).items() if key != "rewind_to"}
    spec = spec_of(
        model={**NETS[net], "weights": str(tmp_path / "equal.safetensors")}, methods=[{"name": method, **options}]
    )
    if method in UNTRAINED_REFUSED:
        with pytest.raises(SpecError, match=UNTRAINED_REFUSED[method]):
            make_plan(spec)
        return
    (result,) = _run(spec, tmp_path).values()
    keep = budget.kept(budget.total(setting.layers), Decimal(str(result["sparsity"])))
    kept = sum(layer["kept"] for layer in result["layers"])
    assert kept == keep or (is_structural(method) and kept < keep)


@pytest.mark.usefixtures("hears_nobody")
def test_a_seed_gives_one_ticket_also_where_it_is_stopped_at_any_step(
    spec_of: Callable[..., Spec], tmp_path: Path, method: str, net: str
) -> None:
    """Run twice, the second time stopped in the middle: the same bits."""
    spec = spec_of(seeds=[3])
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


def test_it_asks_for_what_it_planned_and_epochs_add_up_and_seeds_give_other_tickets(
    spec_of: Callable[..., Spec], tmp_path: Path, method: str
) -> None:
    spec = spec_of(sparsities=[float(sparsity) for sparsity in sparsities(method)[:2]], seeds=[0, 1])
    plan = make_plan(spec)
    results = _run(spec, tmp_path)
    for planned in plan.planned:
        asked = [stage["key"] for stage in results[planned.id]["chain"]]
        metrics = results[planned.id]["metrics"]
        if planned.chain.bounded:
            assert len(asked) <= len(planned.chain.requests)
            assert metrics["cost/epochs"] <= float(planned.epochs)
        else:
            assert asked == [request.key for request in planned.chain.requests]
            assert metrics["cost/epochs"] == pytest.approx(float(planned.epochs), abs=1e-12)
    new = sum(result["metrics"]["cost/epochs_new"] for result in results.values())
    store = SweepFolder(tmp_path).store
    steps = sum((store.meta(key) or {}).get("steps", 0) for key in store.stages())
    assert new == pytest.approx(steps / STEPS, abs=1e-9)
    if not any(planned.chain.bounded for planned in plan.planned):
        assert new == pytest.approx(plan.epochs_distinct, abs=1e-9)
        made = {request.key for planned in plan.planned for request in planned.chain.requests}
        pieces = {key for planned in plan.planned for key in plan.segments(planned)}
        assert set(store.stages()) == made | pieces
    one, other = (_ticket_of(tmp_path / "trials" / planned.id) for planned in plan.planned[:2])
    assert [planned.trial.seed for planned in plan.planned[:2]] == [0, 1]
    if not is_structural(method):  # their masks are of shapes, and these may be the same
        assert _same(one["masks"], other["masks"]) == (method == "dense")
    assert not _same(one["start"], other["start"])
    assert not _same(one["weights"], other["weights"])
