"""How each method is tried by the conformance suite, on which networks, and what it refuses."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from methods import registry

OPTIONS: dict[str, dict[str, Any]] = {
    "snip": {"per_class": 3, "batches": 2, "rounds": 2},
    "grasp": {"per_class": 3, "batches": 2},
    "synflow": {"rounds": 5},
    "fisher": {"per_class": 2, "batches": 2},
    "lottery": {"fraction": 0.4, "rewind_to": "4it"},
    "lr_rewinding": {"fraction": 0.5, "rewind_to": "2it"},
    "fine_tune": {"fraction": 0.5, "epochs": 1},
    "colt": {"fraction": 0.4, "prune_linear": True},
    "plasticity": {"at": "3it", "epochs": 1, "per_class": 3, "regenerate": "gradient"},
    "filter_prune": {"criterion": "taylor_weight", "rounds": 2, "batches": 2},
    "layer_prune": {"criterion": "taylor_feature", "batches": 2, "tune_epochs": 1, "tune_lr": 0.01},
    "rigl": {"every": "2it"},
    "set": {"every": "2it"},
}
"""Options that make a method short, or let it do all that it can."""

SPARSITIES = {
    "colt": ("0.25", "0.35", "0.4"),  # leaves layers dense
    "layer_prune": ("0.02", "0.03", "0.05"),  # small networks have few blocks, and these are small
    "random_layer": ("0.02", "0.03", "0.05"),
}
"""Two that share what they can, and a large one, where not the usual ones."""
USUAL = ("0.6", "0.7", "0.85")

LAYERS = ("layer_prune", "random_layer")
NO_BLOCK = "finds no block that could be removed"
REFUSED = {
    ("colt", "grouped"): "keeps fewer weights than the 1920 of the layers that colt leaves dense",
    **{(name, net): NO_BLOCK for name in LAYERS for net in ("plain", "grouped")},
    **{(name, "grouped"): "torch-pruning cannot take filters out" for name in ("filter_prune", "random_filter")},
    **{(name, "shared"): "share a weight" for name in ("filter_prune", "random_filter")},
}
"""Networks that a method cannot serve at these sparsities, and what it says before anything runs."""

NETS: dict[str, dict[str, Any]] = {
    "plain": {"name": "conformance_nets:plain"},
    "residual": {"name": "resnet8", "width": 0.25},  # with projections
    "linears": {"name": "conformance_nets:linears"},
    "depthwise": {"name": "conformance_nets:depthwise"},
    "grouped": {"name": "conformance_nets:grouped"},
    "shared": {"name": "conformance_nets:shared"},
}

UNTRAINED_REFUSED = {
    "colt": "its copies have fewer classes",
    "plasticity": "the dense network comes from `weights:`, untrained here",
}
"""Methods that cannot begin with given weights, and what they say."""

METHODS = [name for name in registry.names() if name != "transfer"]
"""All but transfer, which finds no ticket but takes one from a file: tests/engine/test_transfer.py."""
SERVED = [(method, net) for method in METHODS for net in NETS if (method, net) not in REFUSED]


def sparsities(method: str) -> list[Decimal]:
    """The sparsities that a method is tried at: two, and a large one."""
    return [Decimal(each) for each in SPARSITIES.get(method, USUAL)]


def is_structural(method: str) -> bool:
    """Whether it makes the network smaller, as nearly to the sparsity as whole filters or layers allow."""
    return registry.get(method).granularity != "weight"


def sections(method: str, net: str) -> dict[str, Any]:
    """A spec's sections for one method on one network: one epoch of 6 steps, with all that could move a removed
    weight."""
    return {
        "recipe": {"epochs": 1, "nesterov": True, "weight_decay": 0.05, "augmentation": {"crop": 1}},
        "model": NETS[net],
        "methods": [{"name": method, **OPTIONS.get(method, {})}],
        "sparsities": [float(sparsities(method)[1])],
    }
