"""Does the search find better layer-wise ratios than plain tools, and than the formulas? Hybrid tickets under

    (a) Jackpot's search: a space in which every proposal meets the budget, warm starts
    (b) Ray's OptunaSearch: a keep ratio a layer in [0, 1], objective accuracy - 10 |sparsity - budget|
    (c) random search: the layers' shares of the budget uniform on the simplex, projected onto the budget
    (d) the best formula alone

    python benchmarks/search.py --folder DIR [--task digits95 digits98 cifar pareto] [--data DIR] [--json FILE]

(a) to (c) have equal trials and epochs, and begin with the same warm starts on the same dense networks (one, or one for
each of --train-seeds). The best ratios of each (of two objectives: those of the Pareto set that add most to its area),
those of (b) projected onto the budget, are trained again on fresh seeds, as is every formula. The winner of each arm
has the highest mean validation accuracy there; test never chooses. Intervals are paired by fresh seed, after the mean
over search seeds: they cover the noise of training on the fresh seeds; the search seeds are shown by their spread. A
ticket that diverges counts as accuracy 0. Hypervolume: the area of accuracy and MACs (over the dense network's) over
REFERENCE; its intervals are jackknifed over the fresh seeds. Every result is a file: run again to go on.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
import sys
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from search_arms import CONCURRENCY, PENALTY, Bench, Proposal, Result, jackpot, one_thread, penalised, simplex
from search_arms import warm_starts as starts_of
from search_verdict import ARMS, REFERENCE, judge, mean, show

from orchestrator.sweep.choosing import best, hypervolume

TASKS = ("digits95", "digits98", "cifar", "pareto")
FRESH = 100
"""The first of the finalists' seeds."""
TRAIN, TEST = 500, 200
"""Images a class of the task cifar."""


def spec_of(task: str, seed: int, given: argparse.Namespace) -> dict[str, Any]:
    """The spec of arm (a), whose data, network and recipe are every arm's."""
    cifar = task == "cifar"
    recipe = {"batch": 64, "lr": 0.1, "weight_decay": 5e-4, "schedule": {"name": "cosine"}}
    if cifar:
        recipe["augmentation"] = {"crop": 4, "flip": True}
    search = {
        "method": "hybrid",
        "sparsity": 0.98 if task == "digits98" else 0.95,
        "objectives": ["accuracy/val", "macs"] if task == "pareto" else ["accuracy/val"],
        "trials": given.trials or (40 if cifar else 60),
        "seed": seed,
        "seeds": given.train_seeds,
        "concurrency": CONCURRENCY,
        "finalists": {"best": 0},
    }
    chosen = {name: {"name": own} for name in ("space", "sampler") if (own := getattr(given, name))}
    return {
        "name": f"search-{task}-seed{seed}",
        "data": {"name": "image_folder", "root": str(given.folder / "images")} if cifar else {"name": "digits"},
        "model": {"name": "resnet8" if cifar else "convnet", "width": 0.5},
        "recipe": {"epochs": given.epochs or (6 if cifar else 10), **recipe},
        "search": search | chosen,
        "concurrency": given.workers,
        "latency": {"enabled": False},
        "tracking": {"enabled": False},
    }


def link_images(data: Path, folder: Path) -> None:
    """Link the first images of each class of a folder with train/ and test/ into another."""
    for split, count in (("train", TRAIN), ("test", TEST)):
        for own in sorted(path for path in (data / split).iterdir() if path.is_dir()):
            (folder / split / own.name).mkdir(parents=True, exist_ok=True)
            for image in sorted(own.iterdir())[:count]:
                link = folder / split / own.name / image.name
                if not link.is_symlink():
                    link.symlink_to(image.absolute())


# What was found


@dataclass(frozen=True)
class Fresh:
    """A ratio on the fresh seeds, in their order."""

    val: list[float]
    test: list[float]
    macs: float
    """Over the dense network's; the mean where the trained network says the ratio."""

    @classmethod
    def of(cls, results: Iterable[Result]) -> Fresh:
        """From the results on the fresh seeds."""
        done = [each["metrics"] if each["status"] == "done" else {} for each in results]
        macs = [each["macs"] / each["macs/dense"] for each in done if each] or [1.0]
        val, test = ([each.get(f"accuracy/{name}", 0.0) for each in done] for name in ("val", "test"))
        return cls(val, test, mean(macs))


def finalists(
    proposals: Sequence[Proposal], ups: Sequence[bool], fit: Callable[[list[int]], list[int]], count: int
) -> list[list[int]]:
    """The counts of an arm's `count` finalists, the best first, each ratio once; `fit` projects onto the budget."""
    counts: dict[int, list[int]] = {}
    for number, own in enumerate(proposals):
        if own.values is not None and (fitted := fit(own.counts)) not in counts.values():
            counts[number] = fitted
    values = {number: proposals[number].values or () for number in counts}
    losses = {number: proposals[number].loss or 0.0 for number in counts}
    return [counts[number] for number in best(values, ups, losses, count, REFERENCE)]


def worth(values: Mapping[int, tuple[float, ...]], ups: Sequence[bool]) -> float:
    """The best validation objective, or the hypervolume of two."""
    if len(ups) == 1:
        return max((own[0] for own in values.values()), default=-math.inf)
    return hypervolume(values, ups, REFERENCE)


def curve(proposals: Sequence[Proposal], ups: Sequence[bool]) -> list[float]:
    """What an arm had found after 1, 2, ... proposals."""
    values = {number: own.values for number, own in enumerate(proposals) if own.values is not None}
    return [worth({n: v for n, v in values.items() if n < end}, ups) for end in range(1, len(proposals) + 1)]


def run_task(task: str, given: argparse.Namespace, pool: Executor, run: str) -> dict[str, Any]:
    """Search with every arm and seed, train the finalists and formulas on fresh seeds. All that was found."""
    searches: dict[str, list[list[Proposal]]] = {arm: [] for arm in ARMS}
    chosen: dict[str, list[list[list[int]]]] = {arm: [] for arm in ARMS}
    for seed in range(given.seeds):
        bench = Bench(spec_of(task, seed, given), given.folder / task / f"jackpot-seed{seed}", pool, run)
        say(f"{task}: search seed {seed}, (a)")
        found = {"a": jackpot(bench)}
        warm = starts_of(bench, found["a"])
        for arm, search in (("b", penalised), ("c", simplex)):
            say(f"{task}: search seed {seed}, ({arm})")
            found[arm] = search(bench, warm)
        for arm, proposals in found.items():
            searches[arm].append(proposals)
            chosen[arm].append(finalists(proposals, bench.ups, bench.fitted, given.finalists))
    say(f"{task}: finalists and formulas on {given.fresh} fresh seeds")
    seeds = range(FRESH, FRESH + given.fresh)
    bench = Bench(spec_of(task, 0, given), given.folder / task / "fresh", pool, run)
    fresh = retrained(bench, [counts for own in chosen.values() for each in own for counts in each], seeds)
    formulas = on_formulas(bench, seeds)
    return {
        "task": task,
        "spec": bench.spec.model_dump(mode="json"),
        "penalty": PENALTY,
        "reference": REFERENCE,
        "warm_starts": [each.source for each in warm],
        "fresh_seeds": list(seeds),
        "searches": {arm: [[asdict(p) for p in each] for each in own] for arm, own in searches.items()},
        "curves": {arm: [curve(each, bench.ups) for each in own] for arm, own in searches.items()},
        "finalists": {
            arm: [[{"counts": counts, **asdict(fresh[tuple(counts)])} for counts in each] for each in own]
            for arm, own in chosen.items()
        },
        "formulas": {name: asdict(own) for name, own in formulas.items()},
    }


def retrained(bench: Bench, ratios: Sequence[list[int]], seeds: Sequence[int]) -> dict[tuple[int, ...], Fresh]:
    """Each ratio on the fresh seeds."""
    distinct = dict.fromkeys(map(tuple, ratios))
    # neighbours have different seeds, so that no two workers wait for the same dense training
    started = {counts: [bench.start(bench.fresh(counts, seed)) for seed in seeds] for counts in distinct}
    return {counts: Fresh.of(each.result() for each in own) for counts, own in started.items()}


def on_formulas(bench: Bench, seeds: Sequence[int]) -> dict[str, Fresh]:
    """Each formula on the fresh seeds."""
    arms = {name: bench.ground.arm(options) for name, options in bench.ground.formulas.items()}
    started = {name: [bench.start(bench.trial(arm, seed)) for seed in seeds] for name, arm in arms.items()}
    return {name: Fresh.of(each.result() for each in own) for name, own in started.items()}


def say(text: str) -> None:
    """Tell what is being done."""
    print(f"{text} ...", file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where all is kept; run again to go on")
    parser.add_argument("--task", nargs="+", choices=TASKS, default=[*TASKS])
    parser.add_argument("--data", type=Path, help="of the task cifar: the images, as train/CLASS/ and test/CLASS/")
    parser.add_argument("--seeds", type=int, default=3, help="searches of each arm")
    parser.add_argument("--train-seeds", type=int, default=1, help="training seeds that proposals have in turn")
    parser.add_argument("--finalists", type=int, default=8, help="of each search")
    parser.add_argument("--fresh", type=int, default=10, help="seeds that finalists and formulas are trained on")
    parser.add_argument("--trials", type=int, help="of each search (default: 60; cifar 40)")
    parser.add_argument("--epochs", type=int, help="of each training (default: 10; cifar 6)")
    parser.add_argument("--space", help="of (a) (default: Jackpot's)")
    parser.add_argument("--sampler", help="of (a) (default: Jackpot's)")
    parser.add_argument("--workers", type=int, default=2, help="trials at once, a thread each")
    parser.add_argument("--json", type=Path, help="write all numbers there")
    given = parser.parse_args()
    given.folder = given.folder.absolute()
    if given.fresh < 2:
        parser.error(f"--fresh: an interval needs two seeds or more, got {given.fresh}; give 10")
    if "cifar" in given.task and not (given.data and (given.data / "train").is_dir()):
        parser.error("--data: the task cifar needs a folder with train/CLASS/ and test/CLASS/; give it, or other tasks")
    return given


def main() -> None:
    """Run the tasks and print a table of each."""
    given = arguments()
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    spawned = multiprocessing.get_context("spawn")
    every = []
    with ProcessPoolExecutor(given.workers, mp_context=spawned, initializer=one_thread) as pool:
        for task in given.task:
            if task == "cifar":
                link_images(given.data, given.folder / "images")
            found = run_task(task, given, pool, uuid.uuid4().hex)
            verdict = judge(found)
            every.append(found | verdict)
            show(found, verdict, Console(width=180))
            if given.json:
                given.json.write_text(json.dumps(every, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
