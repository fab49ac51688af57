"""The results of a sweep as one table: a row a trial."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.engine.decisions import Decisions
from orchestrator.engine.files import Corrupt, read_sealed, replacing
from orchestrator.engine.folder import FolderError, SweepFolder
from orchestrator.engine.speed import bests

if TYPE_CHECKING:
    import pandas as pd

FINAL = ("done", "diverged", "dropped")
"""Results that stand. `dropped`: stopped at a cheap rung of a search's fidelity."""
BAD = ("failed", "blocked")
"""Results of trials that the next run tries again."""
METRICS = (
    "accuracy/test", "loss/test", "accuracy/val", "loss/val", "sparsity/global", "compression_ratio", "macs",
    "macs/dense", "macs/speedup", "cost/epochs", "cost/epochs_new", "cost/train_seconds",
    "cost/train_flops",
    "size/dense_mb", "size/sparse_mb", "size/compressed_mb",
)  # fmt: skip
BEFORE = "accuracy/before"
"""Of the trials that say how good the network was just before it was pruned."""
MEASURED = ("latency/", "memory/")
"""How the names of what is measured for each batch size begin."""
TIMES_AND_HOST = ("cost/train_seconds", "started", "ended", "waited_seconds", "host")
"""With what is measured, the columns in which two runs of one spec may differ."""


def repeatable(table: pd.DataFrame) -> pd.DataFrame:
    """A table of results without the columns in which two runs of one spec may differ."""
    varying = [name for name in table if name in TIMES_AND_HOST or str(name).startswith(MEASURED)]
    return table.drop(columns=varying)


def planned_keys(folder: SweepFolder) -> dict[str, str]:
    """Every trial of the sweep's last plan with the key that its result must have. Raises FolderError where no sweep
    lies in the folder."""
    try:
        plan = read_sealed(folder.path / "plan.json")
    except (FileNotFoundError, Corrupt, NotADirectoryError) as error:
        raise FolderError(f"{folder.path}: no sweep here ({error}); name the folder that `jackpot run` made") from error
    return keys_of(plan, folder.path)


def keys_of(plan: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """Every trial of a plan, and of what a search has decided on in the sweep's folder, with the key that its result
    must have."""
    known = {planned["trial"]: planned["key"] for planned in plan["planned"]}
    if search := plan.get("search"):
        decided = Decisions(folder, search["definition"]).all
        known |= {each.trial: each.key for each in decided if each.place or each.number < search["trials"]}
    return known


def planned_results(folder: SweepFolder) -> list[tuple[str, dict[str, Any] | None]]:
    """Every trial of the sweep's last plan with its result, None where there is none that is valid. Raises
    FolderError where no sweep lies in the folder."""
    rows = [(trial, folder.result(trial, key)) for trial, key in planned_keys(folder).items()]
    return sorted(rows, key=lambda row: row[0])


def why(result: Mapping[str, Any]) -> str:
    """In a line, why a trial has no ticket; nothing for one that has."""
    if result["blocked_by"]:
        return f"blocked by {result['blocked_by']}"
    error = result["error"]
    return f"{error['type']}: {error['message']}".splitlines()[0] if error else ""


def run_status(folder: SweepFolder) -> str:
    """MLflow's word for how a sweep that is not running stands: FAILED once a planned trial has failed, else
    KILLED while any is left, else FINISHED."""
    statuses = {result["status"] if result else "missing" for _, result in planned_results(folder)}
    if statuses & {*BAD}:
        return "FAILED"
    return "KILLED" if "missing" in statuses else "FINISHED"


def results(folder: SweepFolder) -> pd.DataFrame:
    """One row a planned trial: what it was, its status ("missing" without a result), the metrics under their
    names, times and host."""
    import pandas as pd

    return pd.DataFrame([_row(trial, result) for trial, result in planned_results(folder)])


def _row(trial: str, result: dict[str, Any] | None) -> dict[str, Any]:
    if result is None:
        return {"trial": trial, "status": "missing"}
    error = result["error"] or {}
    return {
        "trial": trial,
        **{key: result[key] for key in ("status", "model", "method", "label", "arm", "check")},
        "search": result.get("search"),
        "options": json.dumps(result["options"], sort_keys=True),
        **{key: result[key] for key in ("sparsity", "seed", "data", "key")},
        **{name: result["metrics"].get(name) for name in METRICS},
        **{name: value for name, value in result["metrics"].items() if name.startswith((BEFORE, *MEASURED))},
        **{f"latency/best/runtime/b{own['batch']}": own["runtime"] for own in bests(result.get("latency", []))},
        "collapsed": " ".join(result.get("collapsed", [])),
        "error": f"{error['type']}: {error['message']}" if error else "",
        "blocked_by": result["blocked_by"] or "",
        **{key: result.get(key) for key in ("started", "ended", "waited_seconds")},
        "host": result["host"]["hostname"],
    }


def write_csv(folder: SweepFolder) -> Path:
    """Write results.csv into the sweep's folder; its path."""
    path = folder.path / "results.csv"
    table = results(folder)
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False)
    return path
