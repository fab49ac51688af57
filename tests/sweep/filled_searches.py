"""Searches whose results are made up, as `jackpot run` would find them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import optuna

from methods.ratio_file import read_ratios
from methods.ratios import given_counts
from orchestrator.engine.files import read_sealed
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.plan import Planned, make_plan
from orchestrator.engine.trial import blank_result, write_result
from orchestrator.spec.models import Spec
from orchestrator.sweep.ratio_search import RatioSearch
from orchestrator.sweep.search_files import write_ratios, write_study, write_summary

SEARCH: dict[str, Any] = {
    "method": "hybrid", "sparsity": 0.9, "space": "free", "sampler": "random", "trials": 14, "seed": 3,
    "objectives": ["accuracy/val", "macs"], "finalists": {"best": 2, "seeds": [7, 8]},
}  # fmt: skip
FORMULAS = ["uniform", "erk", "smart", "lamp", "magnitude"]
"""The warm starts: proposals 0 to 4."""
FRONT = {6: (0.9, 80.0), 8: (0.8, 50.0), 9: (0.6, 10.0)}
"""The good proposals; every other one has accuracy 0.5 and 100 + its number MACs."""


class Filled:
    """A search whose results are made up."""

    def __init__(self, spec: Spec, folder: Path) -> None:
        self.folder = SweepFolder(folder)
        self.folder.prepare()
        self.search = RatioSearch(spec, self.folder, make_plan(spec))
        self.search.advance()

    def end(self, planned: Planned, values: tuple[float, float], status: str = "done", **fields: Any) -> None:
        trial = planned.trial
        result = blank_result(self.search.setting, trial, planned.chain.key, 1) | {"status": status, **fields}
        if status == "done":
            result["metrics"] = {"accuracy/val": values[0], "macs": values[1], "loss/val": 1 - values[0]}
            ratios = trial.arm.options["ratios"] or dict.fromkeys(
                [layer.name for layer in self.search.ground.layers], 1
            )
            counts = given_counts({k: Decimal(v) for k, v in ratios.items()}, self.search.ground.layers, Decimal("0.9"))
            result["layers"] = [
                {"name": layer.name, "weights": layer.weights, "kept": kept, "keep_ratio": kept / layer.weights}
                for layer, kept in zip(self.search.ground.layers, counts, strict=True)
            ]
        write_result(self.folder, result)
        self.search.end(planned.id)
        self.search.advance()

    def fill(self, until: int = 14, other: Mapping[int, dict[str, Any]] | None = None) -> Filled:
        """Results of proposals 0 to until - 1. `other`: fields of those that do not end well."""
        for number in range(until):
            values = FRONT.get(number, (0.5, 100.0 + number))
            self.end(self.search.trials[number], values, **(other or {}).get(number, {}))
        return self

    def finish(self, accuracies: Mapping[str, tuple[float, float]]) -> Filled:
        """Results of the finalists on their two seeds."""
        for decided in self.search.decisions.finalists:
            planned = self.search.plan.by_id[decided.trial]
            self.end(planned, (accuracies[planned.trial.arm.label][planned.trial.seed - 7], 1.0))
        return self

    @property
    def summary(self) -> dict[str, Any]:
        write_summary(self.search)
        return read_sealed(self.folder.path / "search" / "summary.json")

    @property
    def study(self) -> optuna.Study:
        write_study(self.search)
        return optuna.load_study(study_name="small", storage=f"sqlite:///{self.folder.path}/search/study.db")

    @property
    def ratio_files(self) -> list[str]:
        write_ratios(self.search)
        return sorted(path.name for path in (self.folder.path / "ratios").glob("*"))

    def kept(self, file: str) -> list[int]:
        ratios = read_ratios(str(self.folder.path / "ratios" / file))
        return given_counts(ratios, self.search.ground.layers, Decimal("0.9"))

    def proposed(self, number: int) -> list[int]:
        """What a proposal of the sampler keeps in each layer."""
        ratios = self.search.decisions.proposals[number].options["ratios"]
        return [round(ratios[layer.name] * layer.weights) for layer in self.search.ground.layers]
