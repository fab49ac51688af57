"""A sweep in a page of Markdown: what was compared, how to run it again, what came out. MLflow shows it as the
description of the sweep's run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from orchestrator.engine.files import write_sealed, write_text
from orchestrator.report.cells import Network, Result, is_proposal, networks, removed
from orchestrator.report.sweeps import Sweep
from orchestrator.report.text import markdown, plain
from orchestrator.report.winners import answer, winner, winner_trial

FILE = "summary.md"
WINNERS = "winners.json"
"""Which trials are worth taking away: what MLflow registers as models."""


def write_summary(sweep: Sweep) -> None:
    """Write summary.md and winners.json into a sweep's folder, each whole or not at all."""
    write_text(sweep.path / FILE, summary(sweep))
    write_sealed(sweep.path / WINNERS, {"winners": list(winners(sweep))})


def summary(sweep: Sweep) -> str:
    """The Markdown."""
    compared = markdown(sweep.results, sweep.margin, sweep.searched).strip()
    return "\n\n".join(part for part in [*_compared(sweep), compared, _again(sweep)] if part) + "\n"


def _compared(sweep: Sweep) -> Iterator[str]:
    counts = Counter(result["status"] for result in sweep.results)
    states = [f"{count} {status}" for status, count in sorted(counts.items())]
    states += [f"{len(sweep.missing)} not run yet"] if sweep.missing else []
    yield f"{len(sweep.results) + len(sweep.missing)} trials: {', '.join(states)}."
    tested = [result for result in sweep.results if not is_proposal(result)]
    if not tested:
        return
    facts = {
        "networks": sorted({result["model"] for result in tested}),
        "methods": list(dict.fromkeys(result["label"] for result in tested)),
        "sparsities": [removed(s) for s in sorted({result["sparsity"] for result in tested}) if s],
        "seeds": sorted({result["seed"] for result in tested}),
        "data": sorted({result["data"] for result in tested}),
    }
    yield "\n".join(f"- {name}: {plain(', '.join(map(str, values)))}" for name, values in facts.items() if values)


def _again(sweep: Sweep) -> str:
    return (
        "### To run it again\n\n"
        "`jackpot run spec.yaml` with the artifact `spec.yaml` of this run: what exists is not trained again. "
        f"The page with plots, verdicts and the checklist is the artifact `report.html`; `jackpot report {sweep.name}` "
        "writes it."
    )


def winners(sweep: Sweep) -> Iterator[dict[str, Any]]:
    """Of each network and sparsity the trial to take away: the winning method's, of the seed that was best on the
    validation images."""
    for network in networks(sweep.results):
        for sparsity in (s for s in network.sparsities if s > 0):
            won, trial = winner(network, sparsity), winner_trial(network, sparsity)
            if won is not None and trial is not None:
                yield {
                    "model": network.model,
                    "sparsity": sparsity,
                    "label": won.label,
                    "trial": trial["trial"],
                    "seed": trial["seed"],
                    "accuracy/test": trial["metrics"]["accuracy/test"],
                    "said": _verdict(network, sparsity, trial),
                }


def _verdict(network: Network, sparsity: float, trial: Result) -> str:
    lines = [line for line in answer(network) if line.startswith(f"{removed(sparsity)}:")]
    return f"{lines[0]} (this is seed {trial['seed']}, the best of its seeds on the validation images)"
