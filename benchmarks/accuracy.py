"""Whether the numbers are those of plain training: test accuracy of the plain loop of train.py and of Jackpot's
trainer in each precision, compiled or not, over seeds.

    python -m benchmarks.accuracy [--root IMAGES] [--seeds 5] [--images 10000] [--epochs N] [--nets digits,resnet8]
        [--json FILE]

A seed draws the network, a tenth of its weights that are kept, and the order of the images. Each kind stands with its
mean, the 95 % interval of that, and the 95 % interval of its difference from the plain loop's (Welch's), which holds 0
where the numbers are the same as far as so many seeds can tell. Two trainings at a time, one thread each.
"""

from __future__ import annotations

import argparse
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from statistics import fmean
from typing import Any

import numpy as np
import torch
from machine import about
from options import add_json, add_root, keep, natural, refuse_unreadable
from rich.console import Console
from rich.table import Table
from scipy import stats
from trainers import KINDS, NETS, Ours, Plain, contest

from orchestrator.engine.data import Batches, DataSet
from orchestrator.engine.evaluating import evaluate
from orchestrator.engine.train import learning_rate
from orchestrator.spec.models import Recipe

CHOSEN: dict[str, dict[str, Any]] = {
    "digits": {**NETS["digits"], "recipe": {"epochs": 20, "lr": 0.05}},
    "resnet8": {"model": "resnet8", "batch": 128, "recipe": {"epochs": 10, "lr": 0.1}},
}


def accuracy(name: str, root: str | None, kind: str, seed: int, epochs: int | None, images: int) -> float:
    """On the test set, 0..1, after a training."""
    torch.set_num_threads(1)
    torch.manual_seed(seed)  # the plain loop's order and augmentation
    chosen = dict(CHOSEN[name])
    chosen["recipe"] = chosen["recipe"] | {"schedule": {"name": "cosine"}} | ({"epochs": epochs} if epochs else {})
    own = contest(chosen, root, torch.device("cpu"), seed)
    batch = own.setting.spec.recipe.batch
    # whole batches: the plain loop leaves an epoch's smaller last one out
    own = replace(own, data=_first(own.data, min(images, len(own.data.train.labels)) // batch * batch))
    made, recipe = KINDS[kind](own), own.setting.spec.recipe
    if isinstance(made, Ours):
        made.run(recipe.epochs * made.trainer.per_epoch)
        net = made.trainer.net
    else:
        _run_plain(made, recipe, len(own.data.train.labels) // recipe.batch)
        net = made.net
    measured = evaluate(net, Batches(own.data, recipe.augmentation, own.device), "test")
    assert measured is not None
    return measured.accuracy


def _first(data: DataSet, images: int) -> DataSet:
    """The data with so many training images, drawn at random once and for all."""
    train = data.train
    rows = np.random.default_rng(0).permutation(len(train.labels))[:images]
    return replace(data, train=replace(train, indices=train.indices[rows], labels=train.labels[rows]))


def _run_plain(loop: Plain, recipe: Recipe, per_epoch: int) -> None:
    for step in range(recipe.epochs * per_epoch):
        loop.optimiser.param_groups[0]["lr"] = learning_rate(recipe, step, per_epoch)
        loop.run(1)


def interval(values: Sequence[float]) -> tuple[float, float]:
    """Student's 95 % interval of a mean."""
    found = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    return float(found.low), float(found.high)


def difference(values: Sequence[float], plain: Sequence[float]) -> tuple[float, float]:
    """Welch's 95 % interval of the difference of two means."""
    found = stats.ttest_ind(values, plain, equal_var=False).confidence_interval(0.95)
    return float(found.low), float(found.high)


def show(name: str, found: dict[str, list[float]]) -> None:
    """Print the table of one network."""
    table = Table(title=f"{name}: test accuracy, {len(found['plain'])} seeds, a tenth of the weights")
    for column in ("training", "mean, %", "95 % interval", "over plain, points", "95 % interval", "0 in it"):
        table.add_column(column)
    for kind, values in found.items():
        low, high = interval(values)
        cells = [kind, f"{100 * fmean(values):.2f}", f"{100 * low:.2f} to {100 * high:.2f}"]
        if kind != "plain":
            under, over = difference(values, found["plain"])
            cells.append(f"{100 * (fmean(values) - fmean(found['plain'])):+.2f}")
            cells += [f"{100 * under:+.2f} to {100 * over:+.2f}", "yes" if under <= 0 <= over else "NO"]
        table.add_row(*cells)
    Console(width=120).print(table)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_root(parser)
    parser.add_argument("--seeds", type=natural, default=5)
    parser.add_argument("--images", type=natural, default=10_000, help="training images, at most")
    parser.add_argument("--epochs", type=natural, help="digits 20, resnet8 10 otherwise")
    parser.add_argument("--nets", default=",".join(CHOSEN))
    add_json(parser, "accuracy")
    asked = parser.parse_args()
    chosen = [name.strip() for name in asked.nets.split(",")]
    if unknown := [name for name in chosen if name not in CHOSEN]:
        parser.error(f"--nets: unknown {unknown[0]!r}; known: {', '.join(CHOSEN)}")
    if asked.seeds < 2:
        parser.error("--seeds: an interval needs two at least")
    refuse_unreadable(parser, asked.root)
    rows: dict[str, dict[str, list[float]]] = {}
    # a process of its own for each training: a plain loop's workers end with it
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, mp_context=context, max_tasks_per_child=1) as pool:
        for name in chosen:
            waiting = {
                kind: [
                    pool.submit(accuracy, name, asked.root, kind, seed, asked.epochs, asked.images)
                    for seed in range(asked.seeds)
                ]
                for kind in KINDS
            }
            rows[name] = {kind: [future.result() for future in own] for kind, own in waiting.items()}
            show(name, rows[name])
    keep(asked.json, {"machine": about(), "accuracy": rows})


if __name__ == "__main__":
    main()
