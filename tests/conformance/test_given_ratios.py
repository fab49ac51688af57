"""Every method that takes `ratios` keeps exactly what they say."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from conformance_table import METHODS, is_structural, sections, sparsities

from methods import registry
from methods.ratios import given_counts
from orchestrator.api import load_ticket
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.plan import make_plan
from orchestrator.engine.setting import Setting
from orchestrator.engine.trial import run_trial
from orchestrator.engine.watch import Watch
from orchestrator.spec.models import Spec

TAKING = [name for name in METHODS if "ratios" in registry.get(name).Options.model_fields]


def _sizes(spec: Spec, folder: Path) -> dict[str, tuple[int, tuple[int, ...]]]:
    """Layer -> the kept weights and the shape in the ticket of the spec's only trial."""
    plan, sweep = make_plan(spec), SweepFolder(folder)
    (planned,) = plan.planned
    around = Watch(trial=planned.id, **plan.instructions(planned))
    result = run_trial(sweep, Setting(spec, planned.trial.model), planned.trial, planned.chain.key, around)
    assert result["status"] == "done", result["error"]
    (path,) = (folder / "trials").iterdir()
    return {name: (int(mask.sum()), tuple(mask.shape)) for name, mask in load_ticket(path).masks.items()}


def _spec(make_spec: Callable[..., Spec], method: str, net: str, ratios: dict[str, float]) -> Spec:
    given: dict[str, Any] = sections(method, net)
    return make_spec(**{**given, "methods": [{**given["methods"][0], "ratios": ratios}]})


@pytest.mark.parametrize("net", ["plain", "residual"])
@pytest.mark.parametrize("method", [name for name in TAKING if not is_structural(name)])
def test_each_layer_keeps_the_ratios_count(
    make_spec: Callable[..., Spec], tmp_path: Path, method: str, net: str
) -> None:
    spec = make_spec(**sections(method, net))
    layers = Setting(spec, spec.model[0]).layers
    ratios = {layer.name: round(0.9 / (1 + place % 3), 2) for place, layer in enumerate(layers)}  # 0.9, 0.45, 0.3
    sizes = _sizes(_spec(make_spec, method, net, ratios), tmp_path)
    exact = {name: Decimal(str(ratio)) for name, ratio in ratios.items()}
    counts = given_counts(exact, layers, sparsities(method)[1])
    assert {name: kept for name, (kept, _) in sizes.items()} == {
        layer.name: count for layer, count in zip(layers, counts, strict=True)
    }
    assert len({round(count / layer.weights, 2) for layer, count in zip(layers, counts, strict=True)}) > 1


def test_groups_of_filters_keep_shares_in_proportion(make_spec: Callable[..., Spec], tmp_path: Path) -> None:
    """Six filters and half of twelve: from (6, 6) on one goes of each in turn. (4, 5) keep 36 + 180 + 200 of 1,182
    weights, (4, 4) 36 + 144 + 160, the first that are fewer than 30 %. In two rounds as in one."""
    assert "filter_prune" in TAKING
    sizes = _sizes(_spec(make_spec, "filter_prune", "plain", {"0": 1.0, "4": 0.5}), tmp_path)
    assert {name: shape[0] for name, (_, shape) in sizes.items()} == {"0": 4, "4": 4, "8": 10}
