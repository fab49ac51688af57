"""Ratios of a small network, in numbers of weights: 36, 288, 1,152 and 160, of which 164 are kept at 90 %."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from orchestrator.engine.search import Ground

NINETY = Decimal("0.9")
WEIGHTS = {"conv1": 36, "conv2": 288, "conv3": 1152, "fc": 160}
GIVEN = {"conv1": 20, "conv2": 60, "conv3": 64, "fc": 20}
"""Counts that add up to the budget."""

MakeGround = Callable[..., Ground]


def kept(ground: Ground, ratios: dict[str, float]) -> list[int]:
    return [round(ratios[layer.name] * layer.weights) for layer in ground.layers]


def write(path: Path, ratios: dict[str, float]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(ratios))
    return str(path)


def of(counts: dict[str, int]) -> dict[str, float]:
    return {name: count / WEIGHTS[name] for name, count in counts.items()}
