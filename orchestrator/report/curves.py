"""Training curves: what every trial's network did after each epoch, packed, and drawn once a reader asks."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

from orchestrator.report import html
from orchestrator.report.cells import Result
from orchestrator.report.figures import short
from orchestrator.report.place import Place
from orchestrator.report.trials import percent

FIRST = ("accuracy/val", "loss/val", "loss/train")
"""Metrics in the order a reader is offered them; others follow by name."""
NOT_DRAWN = ("epoch", "time")


def curves(results: Sequence[Result], place: Place) -> Iterator[str]:
    """The section of the training curves; nothing where no trial has a history."""
    trained = [result for result in results if result.get("history")]
    names = {name for result in trained for row in result["history"] for name in row if name not in NOT_DRAWN}
    if not names:
        return
    metrics = [*(name for name in FIRST if name in names), *sorted(names - {*FIRST})]
    content = {"metrics": metrics, "trials": [_trial(result, metrics, place) for result in trained]}
    data = html.packed(json.dumps(content, separators=(",", ":")).encode())
    yield place.section("Training curves")
    yield (
        '<p class="note">The last training of each trial: of a ticket that was found, of the dense network. A trial '
        "that diverged shows what it did until then.</p>"
        f'<details class="curves"><summary>Draw the curves of {len(trained)} trials</summary>'
        '<div class="controls"></div><div class="plot" role="img" aria-label="training curves"><div></div></div>'
        '<details><summary>The values of these curves</summary><div class="wide values" role="group" tabindex="0" '
        'aria-label="values of the training curves"></div></details>'
        f'<script type="application/octet-stream">{data}</script></details>'
    )


def _trial(result: Result, metrics: Sequence[str], place: Place) -> dict[str, Any]:
    rows = result["history"]
    return {
        "trial": result["trial"], "anchor": place.anchor(result["trial"]), "network": result["model"],
        "method": result["label"], "short": short(result["label"]), "sparsity": percent(result["sparsity"]),
        "seed": result["seed"], "epochs": [row.get("epoch", i + 1) for i, row in enumerate(rows)],
        "values": [_column(rows, name) for name in metrics],
    }  # fmt: skip


def _column(rows: Sequence[dict[str, Any]], name: str) -> list[float | None] | None:
    """A metric after each epoch, to five digits; None where the trial has none of it, and for what is not finite."""
    found = [_rounded(row.get(name)) for row in rows]
    return found if any(value is not None for value in found) else None


def _rounded(value: Any) -> float | None:
    return float(f"{value:.5g}") if isinstance(value, int | float) and math.isfinite(value) else None
