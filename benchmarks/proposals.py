"""What a proposal costs the driver of a search, from the first to the last: what stands between a trial's end and the
next one's start.

    python benchmarks/proposals.py [--trials 2000] [--sampler tpe] [--json FILE]

Nothing is trained: results are made up. The network is ResNet-32 without its classifier, 33 layers, a coordinate each
(space free), so 33 coordinates. A proposal is Optuna's draw, its projection onto the budget, the plan of its trial, and
the line on disk that keeps it; and before it, the study hears of a result. Beside it a bare study of Optuna that hears
of every result, asked in the same run."""

from __future__ import annotations

import argparse
import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any

import optuna
from rich.console import Console
from rich.table import Table

from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.plan import make_plan
from orchestrator.engine.trial import blank_result, write_result
from orchestrator.spec.loading import load
from orchestrator.sweep.ratio_search import RatioSearch

EVERY = 250
"""Proposals a row of the table."""


def spec_of(trials: int, sampler: str) -> dict[str, Any]:
    """A search of so many trials."""
    return {
        "name": "proposals",
        "data": {"name": "fake", "train": 100, "test": 20},
        "model": "resnet32",
        "prunable": {"exclude": ["fc"]},
        "recipe": {"epochs": 1},
        "search": {
            "method": "hybrid", "sparsity": 0.95, "space": "free", "sampler": sampler, "trials": trials,
            "warm_starts": ["uniform", "erk"], "finalists": {"best": 0},
        },
        "latency": {"enabled": False},
    }  # fmt: skip


def made_up(search: RatioSearch, number: int, draw: random.Random) -> float:
    """Write a proposal's result: the better, the more alike the layers keep."""
    planned = search.trials[number]
    ratios = search.options(number)["ratios"].values()
    value = 1 - sum((ratio - 0.05) ** 2 for ratio in ratios) / len(ratios) + draw.gauss(0, 0.001)
    result = blank_result(search.setting, planned.trial, planned.chain.key, 1)
    result |= {"status": "done", "ended": 0.0, "metrics": {"accuracy/val": value, "loss/val": 1 - value}}
    write_result(search.folder, result)
    return value


def measure(trials: int, sampler: str, folder: Path) -> tuple[list[float], list[float]]:
    """Seconds of each of the search's proposals, and of a bare study's."""
    spec = load(spec_of(trials, sampler)).require()
    search = RatioSearch(spec, SweepFolder(folder), make_plan(spec))
    bare = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=0, multivariate=True))
    space = {f"x{i}": optuna.distributions.FloatDistribution(-4, 0) for i in range(len(search.ground.layers))}
    draw, alone = random.Random(0), []
    search.advance()
    for number in range(trials):
        value = made_up(search, number, draw)
        search.end(search.trials[number].id)
        search.advance()
        began = time.perf_counter()
        trial = bare.ask(space)
        alone.append(time.perf_counter() - began)
        bare.tell(trial, value)
    return search.seconds, alone


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--sampler", default="tpe")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        search, bare = measure(given.trials, given.sampler, Path(folder))
    table = Table(title=f"ms a proposal, {given.sampler}, 33 coordinates")
    for name in ("proposals", "Jackpot's search", "slowest", "a bare TPE study", "ratio"):
        table.add_column(name, justify="right")
    rows = []
    for start in range(0, len(search), EVERY):
        own, other = search[start : start + EVERY], bare[start : start + EVERY]
        ms = [1000 * sum(own) / len(own), 1000 * max(own), 1000 * sum(other) / len(other)]
        rows.append({"from": start, "to": start + len(own), "ms": ms[0], "slowest": ms[1], "bare_ms": ms[2]})
        table.add_row(f"{start} to {start + len(own)}", *(f"{each:.1f}" for each in ms), f"{ms[0] / ms[2]:.2f}")
    Console(width=100).print(table)
    if given.json:
        given.json.write_text(json.dumps({"trials": given.trials, "sampler": given.sampler, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
