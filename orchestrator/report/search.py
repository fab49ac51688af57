"""What a search of layer-wise ratios found: read from its summary, judged by its finalists on fresh seeds."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from orchestrator.engine.files import Corrupt, read_sealed
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.results import planned_results
from orchestrator.report.cells import Network, networks
from orchestrator.report.statistics import paired
from orchestrator.report.verdicts import METRIC, Comparison, corrected

log = logging.getLogger(__name__)

FOLDER = "search"
TITLES = {
    "accuracy/val": "validation accuracy, %",
    "macs": "multiply-accumulates",
    "latency/ms/b1": "latency of one image, ms",
    "latency/ms/b64": "latency of 64 images, ms",
    "sparsity/global": "weights removed, %",
}

Proposal = Mapping[str, Any]
Layers = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Searched:
    """A search: its summary, and the trials of its network that were tested."""

    folder: SweepFolder
    summary: Mapping[str, Any]
    network: Network

    @property
    def proposals(self) -> list[Proposal]:
        """All proposals, by number."""
        return sorted(self.summary["proposals"], key=lambda proposal: proposal["number"])

    @property
    def scored(self) -> list[Proposal]:
        """The proposals whose objectives all have a finite value."""
        return [
            p for p in self.proposals if p["status"] == "done" and p["values"] and all(map(math.isfinite, p["values"]))
        ]

    @property
    def metrics(self) -> list[str]:
        """The objectives' metrics."""
        return [objective["metric"] for objective in self.summary["objectives"]]

    @property
    def finalists(self) -> dict[str, int]:
        """Label of the finalist's trials -> number of the proposal, best first."""
        return {finalist["label"]: finalist["number"] for finalist in self.summary["finalists"]}

    def proposal(self, number: int) -> Proposal | None:
        """The proposal of a number."""
        return next((p for p in self.summary["proposals"] if p["number"] == number), None)

    @cached_property
    def layers(self) -> dict[int, Layers]:
        """The layers of every scored proposal whose result is there, by number."""
        found = {p["number"]: self.folder.result(p["trial"]) for p in self.scored}
        return {number: result["layers"] for number, result in found.items() if result and result["layers"]}

    def sparsity_of(self, finalist: str) -> float:
        """The sparsity a finalist has, of its trials or else of its proposal."""
        own = [sparsity for label, sparsity in self.network.cells if label == finalist]
        proposal = self.proposal(self.finalists[finalist])
        return own[0] if own else proposal["sparsity"] if proposal else self.summary["sparsity"][-1]

    @cached_property
    def pairs(self) -> list[Comparison]:
        """Every finalist minus every formula at the finalist's sparsity; Holm's correction covers all of them, because
        the best formula was chosen by these very numbers."""
        return corrected(
            [
                Comparison(
                    label, formula, sparsity, paired(self.tested(label, sparsity), self.tested(formula, sparsity))
                )
                for label in self.finalists
                for sparsity in [self.sparsity_of(label)]
                for formula in self.summary["formulas"].values()
            ]
        )

    def tested(self, label: str, sparsity: float) -> dict[int, float]:
        """Seed -> test accuracy in percent."""
        return self.network.at(label, sparsity).values(METRIC, 100)

    def hardest(self, finalist: str) -> Comparison | None:
        """A finalist against the best formula: the one with the highest mean test accuracy on the finalist's seeds.
        None where no formula was tested on any of them."""
        found = [pair for pair in self.pairs if pair.better == finalist and pair.difference.estimate]
        seeds = self.tested(finalist, self.sparsity_of(finalist)).keys()

        def mean(pair: Comparison) -> float:
            values = [v for seed, v in self.tested(pair.other, pair.sparsity).items() if seed in seeds]
            return math.fsum(values) / len(values)

        return max(found, key=mean, default=None)


def read(folder: SweepFolder) -> Searched | None:
    """The search of a sweep; None where the sweep has none. A damaged summary is warned of and passed over. Raises
    FolderError where no sweep lies in the folder."""
    try:
        summary = read_sealed(folder.path / FOLDER / "summary.json")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except Corrupt as error:
        log.warning("the report leaves the search out: %s; `jackpot run` writes it anew from the results", error)
        return None
    found = networks(result for _, result in planned_results(folder) if result is not None)
    own = [network for network in found if network.model == summary["model"]]
    return Searched(folder, summary, own[0] if own else Network(summary["model"], {}))


def title(metric: str) -> str:
    """A metric's name for an axis or a column, with its unit."""
    return TITLES.get(metric, metric)


def scaled(metric: str, value: float) -> float:
    """A metric's value in the unit of its title."""
    return 100 * value if metric in ("accuracy/val", "sparsity/global") else value


def shown(metric: str, value: float) -> str:
    """A metric's value as text, in the unit of its title."""
    return f"{scaled(metric, value):.2f}" if metric == "accuracy/val" else f"{scaled(metric, value):,.6g}"
