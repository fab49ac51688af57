"""Tickets that are found while they train, through the engine: what the conformance suite's options leave out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from trial_runs import only, run_all

from orchestrator.api import load_ticket
from orchestrator.engine.folder import SweepFolder
from orchestrator.spec.models import Spec

# convnet at width 0.25: layers of 36, 288, 1,152 and 160 weights, 1,636 in all; 12 steps of training


def _run(make_spec: Callable[..., Spec], folder: SweepFolder, **options: Any) -> tuple[dict[str, Any], Any]:
    spec = make_spec(methods=[options], sparsities=[0.9])
    result = only(run_all(folder, spec))
    assert result["status"] == "done", result["error"]
    (path,) = (Path(str(folder.path)) / "trials").iterdir()
    return result, load_ticket(path)


def test_a_reference_that_stops_short_of_the_sparsity_is_a_ticket(
    make_spec: Callable[..., Spec], folder: SweepFolder
) -> None:
    """n = 3, two prunings: 0.9 (1 - (1 / 3)^3) = 0.8667 removed, and the rest rounded down."""
    result, _ = _run(make_spec, folder, name="gmp", every="2it", variant="reference")
    assert sum(layer["kept"] for layer in result["layers"]) == int((1 - 0.9 * 26 / 27) * 1636) == 218


def test_uniform_with_a_classifier_of_its_own(make_spec: Callable[..., Spec], folder: SweepFolder) -> None:
    """164 weights: 32 are a fifth of the classifier, 132 a share of the others' 1,476."""
    result, _ = _run(make_spec, folder, name="gmp", scope="uniform", classifier_floor="0.2")
    assert [layer["kept"] for layer in result["layers"]] == [3, 26, 103, 32]


@pytest.mark.parametrize("options", [{}, {"reset_regrown": True}, {"scope": "uniform"}], ids=str)
def test_granet_from_sparse_costs_less_than_from_dense(
    make_spec: Callable[..., Spec], folder: SweepFolder, tmp_path: Path, options: dict[str, Any]
) -> None:
    sparse, ticket = _run(make_spec, folder, name="granet", initial_sparsity="0.5", **options)
    dense, _ = _run(make_spec, SweepFolder(tmp_path / "dense"), name="granet", **options)
    for result in (sparse, dense):
        assert sum(layer["kept"] for layer in result["layers"]) == 164
        assert result["metrics"]["cost/epochs"] == 2.0
    assert 0 < sparse["metrics"]["cost/train_flops"] < dense["metrics"]["cost/train_flops"]
    assert all(torch.isfinite(value).all() for value in ticket.weights.values())


def test_rigl_and_set_start_from_the_network_that_static_sparse_trains(
    make_spec: Callable[..., Spec], folder: SweepFolder, tmp_path: Path
) -> None:
    found = {"static_sparse": _run(make_spec, folder, name="static_sparse")}
    for name in ("rigl", "set"):
        found[name] = _run(make_spec, SweepFolder(tmp_path / name), name=name, every="2it")
    kept = {name: [layer["kept"] for layer in result["layers"]] for name, (result, _) in found.items()}
    assert kept["rigl"] == kept["set"] == kept["static_sparse"]
    masks = {name: ticket.masks for name, (_, ticket) in found.items()}
    for name in ("rigl", "set"):
        assert all(
            torch.equal(found[name][1].start[key], value) for key, value in found["static_sparse"][1].start.items()
        )
        assert any(not torch.equal(masks[name][key], mask) for key, mask in masks["static_sparse"].items())
