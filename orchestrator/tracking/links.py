"""Direct ways into MLflow's pages: the sweep, its methods side by side, those that no other beats."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from orchestrator.tracking.aggregate import INTERVAL, SEEDS
from orchestrator.tracking.runs import Runs

MOST = 100
"""Runs in one comparison: more than this no page shows, and no address holds."""
PARETO = (("accuracy/test", -1), ("macs", 1), ("latency/ms/b1", 1))
"""What the Pareto set is about: metric, and 1 where less is better."""
_VIEW = "mlflow.sharedViewState."  # MLflow's own tag of what its button "Share" keeps
_PAGES = "workflowType=machine_learning"  # else MLflow shows its pages for language models
_COLUMNS = (
    "params.`label`", "params.`sparsity`", "metrics.`accuracy/test`", f"metrics.`{INTERVAL}accuracy/test`",
    "metrics.`accuracy/val`", f"metrics.`{SEEDS}`", "metrics.`sparsity/global`", "metrics.`macs`",
    "metrics.`macs/speedup`", "metrics.`latency/ms/b1`", "metrics.`latency/speedup/b1`", "metrics.`cost/epochs`",
)  # fmt: skip
_OF_A_TRIAL = ("params.`seed`",)
_OF_A_CELL = (f"metrics.`{INTERVAL}accuracy/test`", f"metrics.`{SEEDS}`")


class Links:
    """The pages of a sweep's runs under the address of an MLflow server."""

    def __init__(self, base: str, runs: Runs, parent: str) -> None:
        self._base, self._runs, self._parent = f"{base.rstrip('/')}/#", runs, parent

    def all(self) -> list[tuple[str, str]]:
        """What each page shows, and its address: the sweep, then what there are runs for. Asks the server."""
        cells = sorted(self._runs.search("aggregate"), key=_place)
        best = pareto(cells)
        found = [("the sweep", self.sweep())]
        if cells:
            found += [
                ("its methods, a row each: means over seeds", self.view("aggregate", _networks(cells) > 1)),
                ("its trials, a row each", self.view("trial", _networks(cells) > 1)),
                (f"compare: {_counted(cells, 'method and sparsity', 'methods and sparsities')}", self.compare(cells)),
            ]
        if best:
            found.append(
                (f"compare: the {len(best)} that no other beats in accuracy, MACs and latency", self.compare(best))
            )
        return found

    def sweep(self) -> str:
        """The sweep's own run."""
        return f"{self._base}/experiments/{self._runs.experiment}/runs/{self._parent}?{_PAGES}"

    def compare(self, runs: Sequence[Any]) -> str:
        """MLflow's comparison of runs."""
        return f"{self._base}{compare_path([run.info.run_id for run in runs[:MOST]], [self._runs.experiment])}"

    def view(self, kind: str, several_networks: bool = False) -> str:
        """The experiment's table with the runs of a kind alone, in columns that answer questions, the most accurate
        first. The view is kept on the experiment, as MLflow's button "Share" does."""
        key = f"jackpot-{self._runs.identity[:12]}-{kind}"
        extra, without = (_OF_A_TRIAL, _OF_A_CELL) if kind == "trial" else ((), ())
        network = ("params.`model`",) if several_networks else ()
        columns = [*network, *_COLUMNS[:2], *extra, *(name for name in _COLUMNS[2:] if name not in without)]
        state = {
            "searchFilter": self._runs.condition(kind), "orderByKey": "metrics.`accuracy/test`", "orderByAsc": False,
            "selectedColumns": columns, "columnOrder": columns,
        }  # fmt: skip
        self._runs.client.set_experiment_tag(self._runs.experiment, f"{_VIEW}{key}", json.dumps(state))
        return f"{self._base}/experiments/{self._runs.experiment}/runs?viewStateShareKey={key}&{_PAGES}"


def compare_path(runs: Sequence[str], experiments: Sequence[str]) -> str:
    """Where under a server's address runs of experiments are compared, all by their ids."""
    asked = {"runs": json.dumps(list(runs), separators=(",", ":")), "experiments": json.dumps(list(experiments))}
    return "/compare-runs?" + "&".join([*(f"{name}={quote(value)}" for name, value in asked.items()), _PAGES])


def pareto(runs: Sequence[Any]) -> list[Any]:
    """The runs that no other is at least as good as in all of PARETO's metrics and better in one. What some run lacks
    counts for none."""
    there = [run for run in runs if PARETO[0][0] in run.data.metrics]
    used = [(name, sign) for name, sign in PARETO if there and all(name in run.data.metrics for run in there)]
    values = [tuple(sign * run.data.metrics[name] for name, sign in used) for run in there]
    return [run for run, own in zip(there, values, strict=True) if not any(_beats(other, own) for other in values)]


def _beats(one: Sequence[float], other: Sequence[float]) -> bool:
    return one != other and all(mine <= its for mine, its in zip(one, other, strict=True))


def _place(cell: Any) -> tuple[str, str, float]:
    """Where a mean stands in a comparison: beside the others of its method, from little to much removed."""
    about = cell.data.tags
    return about.get("model", ""), about.get("label", ""), float(about.get("sparsity", 0))


def _networks(cells: Sequence[Any]) -> int:
    return len({cell.data.tags.get("model") for cell in cells})


def _counted(cells: Sequence[Any], one: str, many: str) -> str:
    shown = f"the first {MOST} of {len(cells)}" if len(cells) > MOST else str(len(cells))
    return f"{shown} {one if len(cells) == 1 else many}"
