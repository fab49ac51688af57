"""A ticket whose network has become smaller: filters or a whole layer removed, trained, measured, kept and exported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from trial_runs import only, run_all

from orchestrator.api import load_ticket
from orchestrator.engine.folder import SweepFolder
from orchestrator.spec.models import Spec

MakeSpec = Callable[..., Spec]

FILTERS = """
    def halved(bench, weights):
        '''The first half of the first convolution's filters.'''
        half = len(weights["conv1.weight"]) // 2
        small = {name: value[:half] if name.startswith(("conv1.", "bn1.")) and value.dim() else value
                 for name, value in weights.items()}
        return {**small, "conv2.weight": small["conv2.weight"][:, :half].clone()}

    class Plugin(Method):
        def find(self, bench):
            return Ticket(bench.compute(halved, bench.initialise()), bench.dense_masks())
"""

BLOCK = """
    def without(bench, weights):
        '''All but the first block, whose input and output have one shape.'''
        return {name: value for name, value in weights.items() if not name.startswith(BLOCK)}

    BLOCK = "stage1.0."

    class Plugin(Method):
        def find(self, bench):
            return Ticket(bench.compute(without, bench.initialise()), bench.dense_masks())
"""

MASKED = """
    from methods.masks import keep_largest

    def halved(bench, weights):
        small = {name: value[:2] if name.startswith(("conv1.", "bn1.")) and value.dim() else value
                 for name, value in weights.items()}
        return {**small, "conv2.weight": small["conv2.weight"][:, :2].clone()}

    def masks(bench, weights):
        return keep_largest({layer.name: weights[layer.parameter].abs() for layer in bench.layers}, 100)

    class Plugin(Method):
        def find(self, bench):
            weights = bench.compute(halved, bench.initialise())
            return Ticket(weights, bench.compute(masks, weights))
"""


def run_plugin(plugin: Callable[[str], str], folder: SweepFolder, spec: Callable[..., Spec], text: str, **own: Any):  # type: ignore[no-untyped-def]
    result = only(run_all(folder, spec(methods=[plugin(text)], latency={"batches": [2], "seconds": 0.01}, **own)))
    assert result["status"] == "done", result["error"]
    return result, load_ticket(folder.trial(result["trial"]))


def logits(ticket: Any) -> torch.Tensor:
    images = torch.randn(3, *ticket.structure["input"]["shape"], generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return ticket.network()(images)


def test_filters_removed(plugin: Callable, folder: SweepFolder, make_spec: MakeSpec) -> None:
    result, ticket = run_plugin(plugin, folder, make_spec, FILTERS)  # channels 4, 8, 16 before
    kept = {row["name"]: (row["kept"], row["weights"]) for row in result["layers"]}
    assert kept == {"conv1": (18, 36), "conv2": (144, 288), "conv3": (1152, 1152), "fc": (160, 160)}
    metrics = result["metrics"]
    assert metrics["sparsity/global"] == pytest.approx(1 - (18 + 144 + 1152 + 160) / (36 + 288 + 1152 + 160))
    dense = 64 * 36 + 64 * 288 + 16 * 1152 + 160  # pools after the second and third convolution
    assert (metrics["macs/dense"], metrics["macs"]) == (dense, 64 * 18 + 64 * 144 + 16 * 1152 + 160)
    assert metrics["compression_ratio"] == pytest.approx(
        (1636 + 10 + 2 * (4 + 8 + 16)) / (1474 + 10 + 2 * (2 + 8 + 16))
    )
    assert metrics["latency/ms/b2"] != metrics["latency/dense_ms/b2"], "another structure, measured by itself"
    assert result["collapsed"] == []
    assert ticket.masks["conv2"].shape == (8, 2, 3, 3)
    assert ticket.network().conv1.out_channels == 2
    assert torch.isfinite(logits(ticket)).all()


def test_a_block_removed(plugin: Callable, folder: SweepFolder, make_spec: MakeSpec) -> None:
    model = {"name": "resnet8", "width": 0.25}
    result, ticket = run_plugin(plugin, folder, make_spec, BLOCK, model=model)
    gone = [row["name"] for row in result["layers"] if row["kept"] == 0]
    assert gone == ["stage1.0.conv1", "stage1.0.conv2"]
    assert result["collapsed"] == [], "removed on purpose"
    assert not [name for name in (*ticket.masks, *ticket.weights) if name.startswith("stage1.0.")]
    assert result["metrics"]["macs"] < result["metrics"]["macs/dense"]
    assert torch.isfinite(logits(ticket)).all()


def test_masks_on_a_smaller_network(plugin: Callable, folder: SweepFolder, make_spec: MakeSpec) -> None:
    result, ticket = run_plugin(plugin, folder, make_spec, MASKED)
    assert sum(row["kept"] for row in result["layers"]) == 100
    for name, mask in ticket.masks.items():
        assert not ticket.weights[f"{name}.weight"][~mask].any()


def test_masks_of_other_shapes_are_refused(plugin: Callable, folder: SweepFolder, make_spec: MakeSpec) -> None:
    name = plugin(MASKED.replace("Ticket(weights, ", "Ticket(bench.initialise(), "))
    result = only(run_all(folder, make_spec(methods=[name])))
    assert result["status"] == "failed"
    assert result["error"]["message"] == (
        "the mask of layer 'conv1' is bool of shape (2, 1, 3, 3); expected bool of shape (4, 1, 3, 3), True where the "
        "weight is kept"
    )
