"""report.html: what was asked, what came out, what may be concluded, what it costs, what went wrong."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.engine.files import write_text
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.results import planned_results, why
from orchestrator.report import (
    checklist,
    figures,
    html,
    latency_winners,
    plasticity,
    sanity,
    search,
    search_page,
    verdicts,
    winners,
)
from orchestrator.report.cells import Network, Result, accuracy, is_proposal, networks, removed
from orchestrator.report.checklist_facts import Item
from orchestrator.report.costs import cost_table, latency_table, structure_table
from orchestrator.report.search import Searched
from orchestrator.report.verdicts import against_dense, comparisons, row, sentence
from orchestrator.spec.sharing import shareable

FILE = "report.html"
PARETO = (("latency/ms/b1", "latency of one image, ms"), ("latency/ms/b64", "latency of 64 images, ms"))


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
    return Sweep(
        folder.name,
        shareable(spec.read_text(encoding="utf-8")) if spec.exists() else "",
        [result for _, result in rows if result is not None],
        [trial for trial, result in rows if result is None],
        search.read(folder),
    )


def write_report(folders: Sequence[SweepFolder], path: Path | None = None) -> Path:
    """Write the page of one or several sweeps, whole or not at all; its path (default: in the first one's folder). A
    search also gets a page of its own, in its sweep's folder. Raises FolderError where no sweep lies in a folder."""
    sweeps = [read(folder) for folder in folders]
    path = path or folders[0].path / FILE
    title = f"Jackpot: {', '.join(sweep.name for sweep in sweeps)}"
    body = [f"<h1>{html.text(title)}</h1>"]
    for sweep in sweeps:
        body += _sweep(sweep, headed=len(sweeps) > 1)
        if sweep.searched:
            search_page.write(sweep.searched)
    write_text(path, html.page(title, body))
    return path


def _sweep(sweep: Sweep, headed: bool) -> Iterator[str]:
    if headed:
        yield f"<h2>{html.text(sweep.name)}</h2>"
    yield from _asked(sweep)
    if sweep.searched:
        yield from search_page.section(sweep.searched)
    found = networks(sweep.results)
    yield from winners.section(found)
    yield from latency_winners.section(found)
    compared = [result for result in sweep.results if not is_proposal(result)]
    for network in found:
        yield from _network(network)
    yield from _sanity(sweep)
    yield from _plasticity(sweep)
    yield from structure_table(compared)
    for metric, title in PARETO:
        if figure := figures.against_metric(found, metric, title, front=True):
            yield f"<h3>Accuracy against {html.text(title)}</h3>"
            yield html.plot(figure, f"accuracy against {title}, the Pareto front marked")
    if figure := figures.against_metric(found, "cost/epochs", "epochs of training to the trained ticket", front=True):
        yield "<h3>Accuracy against what the ticket cost</h3>"
        yield html.plot(figure, "accuracy against the epochs of training of the whole chain")
    yield from cost_table(found)
    yield from latency_table(compared)
    yield from checklist.section(sweep.checklist)
    yield from _failures(sweep)


def _asked(sweep: Sweep) -> Iterator[str]:
    counts = Counter(result["status"] for result in sweep.results)
    states = [f"{count} {status}" for status, count in sorted(counts.items())]
    states += [f"{len(sweep.missing)} not run"] if sweep.missing else []
    yield f"<p>{len(sweep.results) + len(sweep.missing)} trials: {html.text(', '.join(states) or 'none')}.</p>"
    if sweep.results:
        # not the time of writing: a page of the same results is the same file, and MLflow keeps one of it
        last = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(max(result["ended"] for result in sweep.results)))
        yield f'<p class="note">The last of them ended on {last}.</p>'
        some = sweep.results[0]
        facts = {
            "data": {result["data"] for result in sweep.results},
            "seeds": {result["seed"] for result in sweep.results},
            "hosts": {f"{result['host']['hostname']} ({result['host']['device']})" for result in sweep.results},
            "threads of a trial": {result["host"]["threads"] for result in sweep.results},
            **{name: {result["versions"].get(name, "?") for result in sweep.results} for name in some["versions"]},
        }
        yield html.table(("", ""), [(name, ", ".join(map(str, sorted(v)))) for name, v in facts.items()], left=(1,))
    yield html.folded("The spec: `jackpot run` of it gives these results again", sweep.spec)


def _network(network: Network) -> Iterator[str]:
    yield f"<h3>{html.text(network.model)}: test accuracy</h3>"
    head = ["method", *map(removed, network.sparsities)]
    rows = [[label, *(accuracy(network.at(label, s)) for s in network.sparsities)] for label in network.labels]
    yield html.table(head, rows, "in %: mean ± half of the 95 % t interval (seeds)")
    yield (
        '<p class="note">The interval covers the noise of training (initialisation, batch order), not the choice of '
        "data. Test was evaluated once, after the last epoch.</p>"
    )
    yield html.plot(figures.against_sparsity(network), f"accuracy of {network.model} against the weights kept")
    yield from _verdicts(network)
    if figure := figures.layer_profile(network):
        yield "<h3>Where the weights are kept</h3>"
        yield html.plot(figure, f"keep ratio of every layer of {network.model} by method and sparsity")


def _verdicts(network: Network) -> Iterator[str]:
    by_sparsity = {s: comparisons(network, s) for s in network.sparsities if s > 0}
    if not by_sparsity:
        return
    yield "<h3>Which is best</h3>"
    yield html.listed(f"{removed(sparsity)}: {sentence(pairs)}." for sparsity, pairs in by_sparsity.items())
    rows = [row(pair) for pairs in by_sparsity.values() for pair in pairs]
    if rows:
        caption = "Paired over seeds; Holm's correction over all pairs of methods at a sparsity"
        yield html.table(verdicts.HEAD, rows, caption, left=verdicts.LEFT)
        yield f'<p class="note">{html.text(verdicts.NOTE)}</p>'
    if dense := against_dense(network):
        yield html.table(
            verdicts.HEAD, map(row, dense),
            "What a ticket loses: the dense network minus it; Holm's correction over all rows", left=verdicts.LEFT,
        )  # fmt: skip


def _sanity(sweep: Sweep) -> Iterator[str]:
    if rows := sanity.checked(sweep.results, sweep.margin):
        yield "<h3>Sanity checks</h3>"
        yield html.table(sanity.HEAD, sanity.table(rows), sanity.caption(sweep.margin), left=sanity.LEFT)


def _plasticity(sweep: Sweep) -> Iterator[str]:
    if found := plasticity.points(sweep.results):
        yield "<h3>Pruning plasticity</h3>"
        yield html.plot(plasticity.figure(found), "plasticity against the time of pruning")
        yield html.table(
            plasticity.HEAD, plasticity.table(found),
            "accuracy on the test images just before pruning, and after training on at that moment's learning rate",
            left=plasticity.LEFT,
        )  # fmt: skip


def _failures(sweep: Sweep) -> Iterator[str]:
    bad = [result for result in sweep.results if result["status"] not in ("done", "dropped")]
    dropped = [result for result in sweep.results if result["status"] == "dropped"]
    collapsed = [result for result in sweep.results if result.get("collapsed")]
    if bad:
        yield "<h3>Trials without a ticket</h3>"
        rows = [(result["trial"], result["status"], why(result)) for result in bad]
        yield html.table(("trial", "status", "why"), rows, left=(1, 2))
    if dropped:
        yield f'<p class="note">The search stopped {len(dropped)} trials early, at a cheap rung: they did not fail.</p>'
    if collapsed:
        yield "<h3>Tickets with an emptied layer</h3>"
        emptied = [(result["trial"], ", ".join(result["collapsed"])) for result in collapsed]
        yield html.table(("trial", "layers that keep no weight"), emptied, left=(1,))
    if sweep.missing:
        yield "<h3>Not run</h3>"
        yield html.listed(sweep.missing)
