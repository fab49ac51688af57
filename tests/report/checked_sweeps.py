"""A sweep that meets every demand of the checklist, to be spoilt in one place at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from reports import record, result

from orchestrator.report.checklist import checklist
from orchestrator.report.checklist_facts import Item

SPARSITIES = (0.5, 0.75, 0.875, 0.9375, 0.96875)
ARMS = [
    ("dense", None, {}),
    ("random", None, {"ratio": "uniform"}),
    ("one_shot", None, {"scope": "global"}),
    ("one_shot", "same_ratio_random", {"scope": "global"}),
    ("snip", None, {"rounds": 1}),
    ("snip", "same_ratio_random", {"rounds": 1}),
    ("snip", "same_ratio_magnitude", {"rounds": 1}),
]
SPEC = """
model: [{name: first, weights: null}, {name: second}, {name: third, width: 2}]
methods: [dense, {name: random, ratio: uniform}, {name: one_shot, checks: [same_ratio_random]}, {name: snip}]
seeds: [0, 1, 2]
"""

Row = dict[str, Any]


def trial(model: str, method: str, check: str | None, sparsity: float, seed: int, **changes: Any) -> Row:
    """A trial's result with all that the checklist looks at; its network has 96 weights."""
    kept = 96 - round(96 * sparsity)
    metrics = {
        "accuracy/test": 0.9, "accuracy/val": 0.9, "compression_ratio": 2.0, "macs/speedup": 2.0,
        "cost/epochs": 20.0 if method == "one_shot" else 10.0, "cost/train_flops": 1e9,
    }  # fmt: skip
    label = method + (f"+{check}" if check else "")
    own = {
        "trial": f"{model}_{label}_s{sparsity}_seed{seed}", "model": model, "method": method, "arm": method,
        "check": check, "options": next(options for name, of, options in ARMS if (name, of) == (method, check)),
        "metrics": metrics, "layers": [{"name": "conv", "weights": 96, "kept": kept, "keep_ratio": kept / 96}],
        "params": {"recipe.epochs": 10, "recipe.lr": 0.1}, "history": [{"epoch": 1, "accuracy/val": 0.9}],
    }  # fmt: skip
    return result(label, sparsity, seed, 0.9, **(own | changes))


def good() -> list[Row]:
    """Three networks, five sparsities, three seeds, every baseline."""
    return [
        trial(model, method, check, sparsity, seed)
        for model in ("first", "second", "third")
        for method, check, _ in ARMS
        for sparsity in ((0.0,) if method == "dense" else SPARSITIES)
        for seed in range(3)
    ]


def judged(rows: list[Row], missing: list[str] | None = None, spec: str = SPEC) -> dict[str, Item]:
    """The items by name."""
    return {item.name: item for item in checklist(rows, missing or [], spec)}


def without(unwanted: Callable[[Row], bool]) -> list[Row]:
    """The good sweep without some trials."""
    return [row for row in good() if not unwanted(row)]


def spoilt(wanted: Callable[[Row], bool], **changes: Any) -> list[Row]:
    """The good sweep with fields of some trials changed."""
    return [{**row, **changes} if wanted(row) else row for row in good()]


def noisy_record(**changes: Any) -> Row:
    """A disturbed latency."""
    return record(noisy=True, **changes)
