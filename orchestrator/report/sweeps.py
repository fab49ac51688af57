"""A sweep as the report reads it from its folder."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.engine.files import read_sealed
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.results import planned_results
from orchestrator.report import checklist, sanity, search
from orchestrator.report.cells import Result
from orchestrator.report.checklist_facts import Item
from orchestrator.report.search import Searched
from orchestrator.spec.sharing import shareable


@dataclass(frozen=True)
class Sweep:
    """A sweep as the report reads it."""

    name: str
    spec: str
    """Its YAML, without credentials: the page is passed around."""
    results: list[Result] = field(repr=False)
    missing: list[str]
    """Planned trials without a result."""
    searched: Searched | None = field(default=None, repr=False)
    """What its search of ratios found."""
    planned: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    """Of each missing trial what the plan says of it: model, label, sparsity, seed."""
    running: str | None = None
    """Which process drives the sweep meanwhile; None for none but this one, which is at its end then."""
    path: Path = Path()
    """Its folder."""

    @property
    def margin(self) -> float:
        """Of the sanity checks, in percentage points."""
        return sanity.margin_of(self.spec)

    @property
    def checklist(self) -> list[Item]:
        """How it meets the demands of an honest evaluation."""
        return checklist.checklist(self.results, self.missing, self.spec)


def read(folder: SweepFolder) -> Sweep:
    """What lies in a sweep's folder. Raises FolderError where no sweep does."""
    rows = planned_results(folder)
    spec = folder.path / "spec.yaml"
    missing = [trial for trial, result in rows if result is None]
    plan = {row["trial"]: row for row in read_sealed(folder.path / "plan.json")["planned"]} if missing else {}
    models = {result["model"] for _, result in rows if result is not None}
    return Sweep(
        folder.name,
        shareable(spec.read_text(encoding="utf-8")) if spec.exists() else "",
        [result for _, result in rows if result is not None],
        missing,
        search.read(folder),
        {trial: _identity(trial, plan.get(trial, {}), models) for trial in missing},
        folder.driven_by_another(),
        folder.path,
    )


def _identity(trial: str, planned: Mapping[str, Any], models: Collection[str]) -> dict[str, Any]:
    """What a trial without a result is. An older plan, and a search's decisions, say it by the trial's id alone:
    NETWORK_METHOD_sSPARSITY_seedSEED."""
    if "label" in planned:
        return {key: planned[key] for key in ("model", "label", "sparsity", "seed")}
    model = next((model for model in sorted(models, key=len, reverse=True) if trial.startswith(f"{model}_")), "")
    found = re.fullmatch(r"_?(?P<label>.*?)(?:_s(?P<percent>[\d.]+))?(?:_seed(?P<seed>\d+))?", trial[len(model) :])
    assert found is not None  # all of it is optional
    percent, seed = found["percent"], found["seed"]
    return {
        "model": model, "label": found["label"], "sparsity": float(percent) / 100 if percent else 0.0,
        "seed": int(seed) if seed else None,
    }  # fmt: skip
