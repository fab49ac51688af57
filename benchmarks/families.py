"""Which of torchvision's classification networks can be pruned: for the smallest of each family, or --all, whether
`jackpot ratios` works, two masked training steps on made-up images train, and the masks hold. Prints one table.

    python benchmarks/families.py [--all | NAME ...] [--ratio erk] [--sparsity 0.9]
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import io
import json
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from types import SimpleNamespace

import torch
import typer

from methods.layers import prunable_layers
from methods.random import random_masks
from methods.ratios import layer_counts
from orchestrator.cli.ratios import command as ratios
from orchestrator.engine.nets import build, canonical, vision
from orchestrator.engine.seeds import generator
from orchestrator.engine.train import Batch, Trainer
from orchestrator.spec.models import Model, Recipe

FAMILIES = {
    "alexnet": 64,
    "convnext_tiny": 64,
    "densenet121": 64,
    "efficientnet_b0": 64,
    "efficientnet_v2_s": 64,
    "googlenet": 64,
    "inception_v3": 96,
    "maxvit_t": 224,
    "mnasnet0_5": 64,
    "mobilenet_v2": 64,
    "mobilenet_v3_small": 64,
    "regnet_x_400mf": 64,
    "regnet_y_400mf": 64,
    "resnet18": 64,
    "resnext50_32x4d": 64,
    "shufflenet_v2_x0_5": 64,
    "squeezenet1_0": 64,
    "swin_t": 64,
    "swin_v2_t": 64,
    "torchvision.models:vgg11": 64,
    "vgg11_bn": 64,
    "vit_b_16": 64,
    "wide_resnet50_2": 64,
}
"""The smallest network of each family -> the side of the images that it is tried on."""

CLASSES, BATCH, SEED = 10, 4, 0
STEPS = (
    Recipe(epochs=1, batch=BATCH, lr=0.01),
    Recipe(epochs=1, batch=BATCH, lr=1e-3, optimiser="adam"),
)
"""One step with each optimiser. Adam's length does not depend on the gradient's, so that its step is seen also where
the network scales its gradients to almost nothing (ConvNeXt); SGD's step before it moves a classifier which begins at
zero (ViT), so that a gradient reaches what lies below."""


class Images:
    """Random images and labels, as many as one step of each optimiser takes."""

    def __init__(self, side: int) -> None:
        draw = torch.Generator().manual_seed(SEED)
        count = BATCH * len(STEPS)
        self.images = torch.randn(count, 3, side, side, generator=draw).to(memory_format=torch.channels_last)
        self.labels = torch.arange(count) % CLASSES

    def order(self, generator: torch.Generator) -> torch.Tensor:
        return torch.arange(len(self.labels))

    def training(self, plan: Iterable[tuple[torch.Tensor, torch.Generator]]) -> Iterator[Batch]:
        return ((self.images[indices], self.labels[indices]) for indices, _ in plan)

    def evaluation(self, split: str) -> Iterator[Batch]:
        return iter(())


@dataclass
class Row:
    """What was found of one network; `fault` is empty where all is well."""

    name: str
    side: int
    layers: int = 0
    weights: int = 0
    share: float = 0.0
    """Of all parameters, how many are prunable weights."""
    seconds: float = 0.0
    fault: str = ""


def examine(name: str, side: int, ratio: str = "erk", sparsity: str = "0.9") -> Row:
    """Ratios, masks and two masked steps of one network, on images of 3 x side x side."""
    row, began = Row(name, side), time.monotonic()
    try:
        previewed = (_ratios(row, each, sparsity) for each in {"smart": 1, ratio: 1})
        row.fault = next(filter(None, previewed), "") or _trains(row, ratio, Decimal(sparsity))
    except Exception as error:  # the table names whatever a network raises
        row.fault = f"{type(error).__name__}: {' '.join(str(error).split())}"
    row.seconds = time.monotonic() - began
    return row


def _ratios(row: Row, ratio: str, sparsity: str) -> str:
    """`jackpot ratios`. Returns what is wrong."""
    said, wrong = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(wrong):
        try:
            ratios(row.name, ratio, sparsity, None, CLASSES, f"3x{row.side}x{row.side}", json=True)
        except typer.Exit:
            return f"jackpot ratios --ratio {ratio}: {' '.join(wrong.getvalue().split())}"
    found = json.loads(said.getvalue())
    row.layers, row.weights = len(found["layers"]), found["weights"]
    asked = found["weights"] - round(Decimal(sparsity) * found["weights"])
    return "" if found["kept"] == asked else f"jackpot ratios keeps {found['kept']} weights instead of {asked}"


def _trains(row: Row, ratio: str, sparsity: Decimal) -> str:
    """Two steps under random masks, one of each optimiser. Returns what is wrong."""
    net = build(Model(name=row.name), CLASSES, (3, row.side, row.side), SEED).to(memory_format=torch.channels_last)
    row.share = row.weights / sum(parameter.numel() for parameter in net.parameters())
    layers = prunable_layers(net)
    bench = SimpleNamespace(layers=layers, generator=lambda purpose, *parts: generator(SEED, purpose, *parts))
    drawn = random_masks(bench, layer_counts(ratio, layers, sparsity, residual=net.residual))
    masks = {layer.parameter: drawn[layer.name] for layer in layers}
    weights = {name: weight.detach() for name, weight in net.named_parameters() if name in masks}
    before = {name: weights[name][mask] for name, mask in masks.items()}
    data = Images(row.side)
    for step, recipe in enumerate(STEPS):
        # raises where the loss or a weight is not finite
        Trainer(net, data, len(data.labels), recipe, SEED, step, masks).run(step + 1)
    if wrong := [name for name, mask in masks.items() if weights[name][~mask].any()]:
        return f"removed weights of {wrong[0]} are not zero after a step"
    still = [name for name, mask in masks.items() if mask.any() and torch.equal(weights[name][mask], before[name])]
    return f"{len(still)} layers did not change, the first {still[0]}" if still else ""


def side_of(name: str) -> int:
    """The side of the images for a network that is not the smallest of its family."""
    own = name.removeprefix(vision.PREFIX)
    sides = {"inception": 96, "maxvit": 224, "vit_h_14": 56}
    return next((side for start, side in sides.items() if own.startswith(start)), 64)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="these networks, rather than one of each family")
    parser.add_argument("--all", action="store_true", help="every network; the largest needs 14 GB of memory")
    parser.add_argument("--ratio", default="erk", help="of the masks; `jackpot ratios` is also tried with smart")
    parser.add_argument("--sparsity", default="0.9")
    asked = parser.parse_args()
    named = [canonical(name) for name in vision.names()] if asked.all else asked.names
    chosen = {name: FAMILIES.get(name, side_of(name)) for name in named} or FAMILIES
    width = max(map(len, chosen))
    print(f"{'network':<{width}} {'images':>9} {'layers':>6} {'prunable':>11} {'share':>6} {'seconds':>7}")
    faults = 0
    for name, side in chosen.items():
        row = examine(name, side, asked.ratio, asked.sparsity)
        faults += bool(row.fault)
        shown = f"{row.layers:>6} {row.weights:>11,} {row.share:>6.1%} {row.seconds:>7.1f}  {row.fault or 'holds'}"
        print(f"{name:<{width}} {f'3x{side}x{side}':>9} {shown}", flush=True)
        gc.collect()
    print(f"{len(chosen) - faults} of {len(chosen)} networks: ratios, two masked steps and masks hold")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
