"""What a sweep must lay out for its comparison to be fair: seeds, operating points, networks, baselines."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice

from orchestrator.report import checklist_baselines
from orchestrator.report.checklist_facts import Facts, Item, named, numbers, written
from orchestrator.report.verdicts import METRIC

SEEDS = 3
POINTS = (0.5, 0.75, 0.875, 0.9375, 0.96875)
"""The sparsities of 2, 4, 8, 16 and 32 times fewer weights."""
PAIRS = 3
CLASSES = {"digits": 10, "cifar10": 10, "cifar100": 100, "tiny_imagenet": 200, "imagenet": 1000}
MANY = 100
"""Classes from which on top-5 is asked for."""


def items(facts: Facts) -> Iterator[Item]:
    """The items on what was laid out."""
    yield seeds(facts)
    yield points(facts)
    yield pairs(facts)
    yield dense(facts)
    yield from checklist_baselines.items(facts)
    yield top5(facts)
    yield validation(facts)


def seeds(facts: Facts) -> Item:
    """At least three seeds of every network, method and sparsity."""
    name = f"at least {SEEDS} seeds everywhere"
    counts = {cell_name: len(cell.values(METRIC)) for cell_name, cell in facts.cells}
    short = [f"{cell_name} ({n})" for cell_name, n in counts.items() if n < SEEDS]
    if not short:
        return Item(
            name, "pass", f"{min(counts.values())} or more of each of {len(counts)} (network, method, sparsity)"
        )
    remedies = []
    asked = facts.spec.get("seeds") or sorted({result["seed"] for result in facts.results})
    if len(asked) < SEEDS and (facts.spec.get("methods") or not facts.search):
        remedies.append(f"seeds: {_more(asked)}")
    finalists = (facts.search.get("finalists") or {}).get("seeds") or []
    if 0 < len(finalists) < SEEDS:
        remedies.append(f"search: {{finalists: {{seeds: {_more(finalists)}}}}}")
    again = "`jackpot run` of the spec again runs what is missing or failed; for what diverged more `seeds`"
    return Item(name, "fail", f"fewer in {len(short)} of {len(counts)}: {named(short)}", "; ".join(remedies) or again)


def _more(asked: list[int]) -> str:
    """Seeds, with the lowest others added until they are enough."""
    others = (seed for seed in count() if seed not in asked)
    return numbers([*asked, *islice(others, SEEDS - len(asked))])


def points(facts: Facts) -> Item:
    """At least five sparsities of every ticket type, from 2 to 32 times fewer weights."""
    name = f"at least {len(POINTS)} operating points, from 2 to 32 times fewer weights"
    tried: dict[str, set[float]] = {}
    for network in facts.networks:
        for (label, sparsity), cell in network.cells.items():
            if sparsity > 0 and cell.values(METRIC):
                tried.setdefault(f"{network.model} {label}", set()).add(sparsity)
    short = {
        who: own
        for who, own in tried.items()
        if len(own) < len(POINTS) or min(own) > POINTS[0] or max(own) < POINTS[-1]
    }
    everything = sorted({sparsity for own in tried.values() for sparsity in own})
    found = f"{len(everything)}: {', '.join(f'{1 / (1 - each):.3g}' for each in everything)} times fewer"
    if tried and not short:
        return Item(name, "pass", found)
    remedy = f"sparsities: {numbers(sorted({*everything, *POINTS}))}"
    if facts.search and not facts.spec.get("methods"):
        remedy = f"`methods` with {remedy}; a search tries its own"
    return Item(name, "fail", f"{found}; short: {named(short)}" if tried else "no ticket was tested", remedy)


def pairs(facts: Facts) -> Item:
    """At least three pairs of a data set and a network."""
    name = f"at least {PAIRS} pairs of data set and network"
    there = sorted({f"{result['data']} with {result['model']}" for result in facts.done})
    found = f"{len(there)}: {', '.join(there)}"
    if len(there) >= PAIRS:
        return Item(name, "pass", found)
    asked = [written(model) for model in facts.spec.get("model") or [] if isinstance(model, dict)]
    models = [*(asked or sorted({result["model"] for result in facts.done})), *["ANOTHER"] * (PAIRS - len(there))]
    return Item(name, "fail", found, f"model: [{', '.join(models)}], or the same spec on other `data`")


def dense(facts: Facts) -> Item:
    """The dense network's own accuracy, for every network."""
    name = "raw accuracy of the dense network"
    own = {
        network.model: estimate.mean
        for network in facts.networks
        for (_, sparsity), cell in network.cells.items()
        if sparsity == 0 and cell.done and cell.done[0]["method"] == "dense"
        if (estimate := cell.estimate(METRIC, 100))
    }
    lacking = [network.model for network in facts.networks if network.model not in own]
    found = "; ".join(f"{model} {mean:.2f} %" for model, mean in own.items()) or "none"
    if lacking:
        return Item(name, "fail", f"{found}; lacking for {named(lacking)}", "methods: - dense")
    return Item(name, "pass", found)


def top5(facts: Facts) -> Item:
    """Top-5 beside top-1, of data sets of many classes."""
    name = f"top-5 accuracy where there are {MANY} classes or more"
    result = facts.done[0]
    classes = CLASSES.get(result["data"]) or result.get("params", {}).get("data.classes")
    if not isinstance(classes, int):
        return Item(name, "unknown", f"how many classes {result['data']} has is not in the results")
    if classes < MANY:
        return Item(name, "not applicable", f"{classes} classes")
    if all(any("top5" in metric for metric in each["metrics"]) for each in facts.done):
        return Item(name, "pass", f"{classes} classes")
    return Item(name, "fail", f"{classes} classes, top-1 alone", "nothing in a spec: restrict claims to top-1")


def validation(facts: Facts) -> Item:
    """Images of their own for what steers."""
    name = "validation images where something steers"
    if not facts.search:
        return Item(name, "not applicable", "no search: nothing steers")
    lacking = [r["trial"] for r in facts.results if r["status"] == "done" and r["metrics"].get("accuracy/val") is None]
    if lacking:
        remedy = f"data: {{name: {facts.results[0]['data']}, validation: 0.1}}"
        return Item(name, "fail", f"none in {len(lacking)} trials: {named(lacking)}", remedy)
    return Item(name, "pass", "the search is steered by validation images, and every trial has them")
