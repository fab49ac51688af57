"""What a finished trial says of its ticket: the metrics, layer by layer and in all."""

from __future__ import annotations

import base64
from fractions import Fraction
from typing import Any

import numpy as np

from methods import budget
from methods.bench import Tensors
from methods.layers import Layer
from orchestrator.engine.bench import TrialBench
from orchestrator.engine.chain import Chain
from orchestrator.engine.macs import sparse_macs
from orchestrator.engine.nets.fitted import fitted
from orchestrator.engine.request import training_key
from orchestrator.engine.sizes import ticket_sizes
from orchestrator.engine.speed import metrics as latency_metrics
from orchestrator.engine.train import weights_of
from orchestrator.engine.trials import Trial

SPLITS = (("test", "test"), ("validation", "val"))
"""Set of images -> how metrics call it."""


def measured(bench: TrialBench, trial: Trial, chain: Chain) -> dict[str, Any]:
    """The fields of a finished chain's result. Raises AssertionError if the trained network does not have the
    sparsity that was asked for."""
    weights = weights_of(bench.value(chain.trained.key))
    masks = bench.masks(chain.ticket.masks, weights)
    _check_sparsity(bench, trial, weights, masks)
    evaluation = bench.meta(chain.evaluated.key)
    records = bench.meta(chain.latency.key)["records"] if chain.latency else []
    metrics = {
        f"{name}/{short}": evaluation[split][name]
        for split, short in SPLITS
        for name in ("accuracy", "loss")
        if split in evaluation
    }
    if chain.before is not None and trial.tested:
        metrics["accuracy/before"] = bench.meta(chain.before.key)["test"]["accuracy"]
    metrics |= _compression(bench, weights, masks) | costs(bench, trial)
    metrics |= {f"size/{name}_mb": size / 1e6 for name, size in ticket_sizes(weights, masks).items()}
    metrics |= latency_metrics(records)
    right = bench.value(chain.evaluated.key)["test/correct"].numpy() if trial.tested else np.zeros(0, dtype=bool)
    return {
        "metrics": metrics,
        "layers": [_row(layer, _kept(layer, masks)) for layer in bench.layers],
        "latency": records,
        "collapsed": [name for name, mask in masks.items() if not mask.any()],
        "history": bench.meta(chain.trained.key).get("history", []),
        "chain": [{"key": r.key, "kind": r.kind, "inputs": list(r.inputs), "steps": r.steps} for r in chain.requests],
        "correct": base64.b64encode(np.packbits(right).tobytes()).decode(),
    }


def _kept(layer: Layer, masks: Tensors) -> int:
    return int(masks[layer.name].sum()) if layer.name in masks else 0


def _row(layer: Layer, kept: int) -> dict[str, Any]:
    return {"name": layer.name, "weights": layer.weights, "kept": kept, "keep_ratio": kept / layer.weights}


def _compression(bench: TrialBench, weights: Tensors, masks: Tensors) -> dict[str, float]:
    """How much smaller the network has become: in prunable weights, in parameters, in multiply-accumulates."""
    setting = bench.setting
    net = fitted(setting.skeleton, weights)
    there = [layer for layer in bench.layers if layer.name in masks]
    own = {layer.name: masks[layer.name].numel() for layer in there}
    remaining = sum(_kept(layer, masks) for layer in there)
    sparse = sparse_macs(
        setting.macs_of(weights), {layer.name: _kept(layer, masks) / own[layer.name] for layer in there}
    )
    before, after = (sum(each.numel() for each in one.parameters()) for one in (setting.skeleton, net))
    return {
        "sparsity/global": 1 - remaining / budget.total(bench.layers),
        # of the whole network: biases and normalisation count, on both sides
        "compression_ratio": before / (after - sum(own.values()) + remaining),
        "macs": sparse,
        "macs/dense": setting.macs.total,
        "macs/speedup": setting.macs.total / max(1.0, sparse),
    }


def _whole(bench: TrialBench, weights: Tensors) -> bool:
    """Whether the network has the structure it began with: whatever was removed is masked."""
    return all(layer.parameter in weights and weights[layer.parameter].shape == layer.shape for layer in bench.layers)


def _check_sparsity(bench: TrialBench, trial: Trial, weights: Tensors, masks: Tensors) -> None:
    """Assert that the masks hold the budget and that the trained network has no weight outside them. A `variant:
    reference` may keep a weight a layer less, or stop short of the sparsity where it prunes during training; `exact:
    false` may keep a whole level less; where filters or layers were removed the budget is met as nearly as these
    allow."""
    asked = budget.kept(budget.total(bench.layers), trial.sparsity)
    kept = sum(_kept(layer, masks) for layer in bench.layers)
    reference = trial.arm.options.get("variant") == "reference"
    slack = len(bench.layers) if reference else 0
    if trial.arm.options.get("exact") is False:
        slack = asked
    short = reference and trial.method_class.prunes == "during training"
    exact = trial.method_class.meets_budget and _whole(bench, weights) and not short
    if exact and not asked - slack <= kept <= asked:
        raise AssertionError(f"the ticket keeps {kept} weights where sparsity {trial.sparsity} keeps {asked}")
    for layer in bench.layers:
        if layer.name in masks and weights[layer.parameter][~masks[layer.name]].any():
            raise AssertionError(f"removed weights of layer {layer.name!r} are not zero after training")


def costs(bench: TrialBench, trial: Trial) -> dict[str, float]:
    """Epochs, seconds and FLOPs of training: of the whole chain, as far as it came, and the epochs that are this
    trial's own. What was trained again for a kill or a damaged stage counts nowhere. FLOPs are those of forward and
    backward passes if removed weights cost nothing."""
    store, per_epoch = bench.store, bench.setting.per_epoch
    ends: dict[str, tuple[int, int]] = {}
    for request in bench.requests.values():
        if request.kind != "train":
            continue
        _, until = ends.get(request.run, (request.start, 0))
        ends[request.run] = (request.start, max(until, request.until))
    steps, own, seconds, macs = 0, 0, 0.0, 0.0
    for run, (start, until) in ends.items():
        last = store.record(training_key(run, until)) or {}
        steps += last.get("at", until) - start  # `at` where it diverged
        seconds += last.get("seconds", 0.0)
        macs += last.get("macs", 0.0)
        for step in {*bench.watch.cuts.get(run, []), until}:
            meta = store.record(training_key(run, step)) if step <= until else None
            own += meta["steps"] if meta and meta.get("trial") == trial.id else 0
    return {
        "cost/epochs": float(Fraction(steps, per_epoch)),
        "cost/epochs_new": float(Fraction(own, per_epoch)),
        "cost/train_seconds": seconds,
        "cost/train_flops": 2 * macs,
    }
