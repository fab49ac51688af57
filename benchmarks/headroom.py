"""Is there a better layer-wise ratio to be found than the formulas'? A search with far more trainings than users have:
CMA-ES (Hansen and Ostermeier, Evolutionary Computation 2001) over the logarithms of the layers' shares, from the best
formula's, every point judged by its mean validation accuracy over several training seeds. Tickets of one method, hybrid
unless said, on the digits.

    python benchmarks/headroom.py --folder DIR [--method NAME] [--model NAME] [--width W] [--epochs N] [--sparsity S]

The search's final mean is tested on fresh seeds beside every formula; its difference to the formula that is best on
validation is paired by seed, with the 95 % interval. Every result is a file: run again to go on.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import uuid
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import cmaes
import numpy as np
from rich.console import Console
from rich.table import Table
from search import FRESH, Fresh, on_formulas, retrained, say
from search_arms import Bench, one_thread
from search_verdict import mean

from methods import budget
from orchestrator.report.statistics import estimate, paired


def spec_of(given: argparse.Namespace) -> dict[str, Any]:
    """The spec whose data, network and recipe are used."""
    width = {"width": given.width} if given.width else {}
    return {
        "name": "headroom",
        "data": "digits",
        "model": {"name": given.model, **width},
        "recipe": {
            "epochs": given.epochs,
            "batch": 64,
            "lr": 0.1,
            "weight_decay": 5e-4,
            "schedule": {"name": "cosine"},
        },
        "search": {"method": given.method, "sparsity": given.sparsity, "space": "free", "finalists": {"best": 0}},
        "latency": {"enabled": False},
        "tracking": {"enabled": False},
    }


def optimised(bench: Bench, formula: str, given: argparse.Namespace) -> list[int]:
    """The counts that CMA-ES ends at."""
    seeds = range(given.seeds)
    arm = bench.ground.arm(bench.ground.method.formulas[formula])
    started = [bench.start(bench.trial(arm, seed)) for seed in seeds]
    rows = [{row["name"]: row["kept"] for row in each.result()["layers"]} for each in started]
    shares = [max(1.0, mean([row[layer.name] for row in rows])) for layer in bench.layers]
    low, high = [1] * len(shares), [layer.weights for layer in bench.layers]
    search = cmaes.CMA(mean=np.log(shares), sigma=0.4, seed=1, population_size=given.population)
    counts = lambda x: budget.project([Fraction(float(v)) for v in np.exp(x)], low, high, bench.keep)  # noqa: E731
    for generation in range(given.generations):
        points = [search.ask() for _ in range(given.population)]
        found = retrained(bench, [counts(point) for point in points], seeds)
        values = [mean(found[tuple(counts(point))].val) for point in points]
        search.tell([(point, -value) for point, value in zip(points, values, strict=True)])
        say(f"generation {generation}: mean {mean(values):.4f}, best {max(values):.4f}, at {counts(search.mean)}")
    return counts(search.mean)


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where all is kept; run again to go on")
    parser.add_argument("--method", choices=["hybrid", "random", "one_shot", "lr_rewinding"], default="hybrid")
    parser.add_argument("--model", default="convnet")
    parser.add_argument("--width", type=float)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--sparsity", type=float, default=0.98)
    parser.add_argument("--generations", type=int, default=10)
    parser.add_argument("--population", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=5, help="training seeds of every point")
    parser.add_argument("--fresh", type=int, default=20, help="seeds of the test")
    given = parser.parse_args()
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"), initializer=one_thread) as pool:
        bench = Bench(spec_of(given), given.folder.absolute(), pool, uuid.uuid4().hex)
        seeds = range(FRESH, FRESH + given.fresh)
        found = on_formulas(bench, seeds)
        formula = max(found, key=lambda name: mean(found[name].val))
        counts = optimised(bench, formula, given)
        found["searched"] = retrained(bench, [counts], seeds)[tuple(counts)]
    show(found, formula, counts, given)


def show(found: dict[str, Fresh], formula: str, counts: list[int], given: argparse.Namespace) -> None:
    """Print the table."""
    percent = {name: {seed: 100 * test for seed, test in enumerate(own.test)} for name, own in found.items()}
    trainings = given.generations * given.population * given.seeds
    table = Table("ratio", "validation %", "test %", f"test - {formula}'s", title=(
        f"{given.method}, {given.model}, {given.sparsity:.2%} removed, {given.epochs} epochs, {given.fresh} fresh "
        f"seeds; searched with {trainings} trainings: {counts}"
    ))  # fmt: skip
    for name, own in found.items():
        test, ahead = estimate(list(percent[name].values())), paired(percent[name], percent[formula]).estimate
        cells = [f"{e.mean:{sign}.2f} ± {e.half_width:.2f}" if e.half_width is not None else f"{e.mean:{sign}.2f}"
                 for e, sign in ((test, ""), (ahead, "+"))]  # fmt: skip
        table.add_row(name, f"{100 * mean(own.val):.2f}", *cells)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
