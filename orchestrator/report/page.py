"""report.html: what was asked, what came out, what may be concluded, what it costs, what went wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from orchestrator.engine.files import write_text
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.results import why
from orchestrator.report import checklist, figures, html, latency_winners, plasticity, sanity, search_page, winners
from orchestrator.report.asked import asked
from orchestrator.report.cells import Network, Result, is_proposal, networks
from orchestrator.report.compared import accuracy_tables, side_by_side, verdicts
from orchestrator.report.costs import cost_table, structure_table
from orchestrator.report.curves import curves
from orchestrator.report.latency import latency_table
from orchestrator.report.place import Place, places
from orchestrator.report.summary import write_summary
from orchestrator.report.sweeps import Sweep, read
from orchestrator.report.trials import all_trials

FILE = "report.html"
AGAINST = (
    ("latency/ms/b1", "measured latency of one image, ms"),
    ("latency/ms/b64", "measured latency of 64 images, ms"),
    ("cost/epochs", "cost: epochs of training to the trained ticket"),
)
"""What accuracy is plotted against."""

TRACEBACKS = 10
"""So many different ones the page shows."""


def write_report(folders: Sequence[SweepFolder], path: Path | None = None) -> Path:
    """Write the page of one or several sweeps, whole or not at all; its path (default: in the first one's folder).
    Each sweep also gets its summary, and the page of its search, in its own folder. Raises FolderError where no sweep
    lies in a folder."""
    sweeps = [read(folder) for folder in folders]
    path = path or folders[0].path / FILE
    at = places([sweep.path for sweep in sweeps], path)
    body = list(side_by_side(sweeps, at)) if len(sweeps) > 1 else []
    for sweep, place in zip(sweeps, at, strict=True):
        if len(sweeps) > 1:
            body.append(html.heading(sweep.name, 2, place.prefix))
        body += _sweep(sweep, place)
        if sweep.searched:
            search_page.write(sweep.searched)
        write_summary(sweep)
    write_text(path, html.page(f"Jackpot: {', '.join(sweep.name for sweep in sweeps)}", body))
    return path


def _sweep(sweep: Sweep, place: Place) -> Iterator[str]:
    found = networks(sweep.results)
    compared = [result for result in sweep.results if not is_proposal(result)]
    yield from asked(sweep, place)
    yield from winners.section(found, place)
    yield from latency_winners.section(found, place)
    if sweep.searched:
        yield from search_page.section(sweep.searched, place)
    yield from accuracy_tables(found, place)
    yield from verdicts(found, place)
    yield from _against(found, place)
    yield from _layers(found, place)
    yield from curves(sweep.results, place)
    yield from _sanity(sweep, place)
    yield from _plasticity(sweep, place)
    yield from structure_table(compared, place)
    yield from cost_table(found, place)
    yield from latency_table(compared, found, place)
    yield from _failures(sweep, place)
    yield from checklist.section(sweep.checklist, place)
    yield from all_trials(sweep, place)


def _against(found: Sequence[Network], place: Place) -> Iterator[str]:
    """Accuracy against all that it may cost."""
    over = [(network, figure) for network in found if (figure := figures.against_sparsity(network))]
    if over:
        yield place.section("Accuracy against sparsity")
    for network, figure in over:
        yield html.plot(figure, f"accuracy of {network.model} against the weights kept")
    for metric, title in AGAINST:
        if figure := figures.against_metric(found, metric, title, front=True):
            yield place.section(f"Accuracy against {title}")
            yield html.plot(figure, f"accuracy against {title}, the Pareto front marked")


def _layers(found: Sequence[Network], place: Place) -> Iterator[str]:
    profiles = [(network, figure) for network in found if (figure := figures.layer_profile(network))]
    if profiles:
        yield place.section("Where the weights are kept")
    for network, figure in profiles:
        yield html.plot(figure, f"keep ratio of every layer of {network.model} by method and sparsity")


def _sanity(sweep: Sweep, place: Place) -> Iterator[str]:
    if rows := sanity.checked(sweep.results, sweep.margin):
        yield place.section("Sanity checks")
        lines = [
            [*line[:4], place.accuracy(row.as_is), place.accuracy(row.checked), *line[6:]]
            for line, row in zip(sanity.table(rows), rows, strict=True)
        ]
        yield html.table(sanity.HEAD, lines, sanity.caption(sweep.margin), left=sanity.LEFT)


def _plasticity(sweep: Sweep, place: Place) -> Iterator[str]:
    if found := plasticity.points(sweep.results):
        yield place.section("Pruning plasticity")
        yield html.plot(plasticity.figure(found), "plasticity against the time of pruning")
        lines = [
            [*line[:5], *(place.alike(number, point.results) for number in line[5:])]
            for line, point in zip(plasticity.table(found), found, strict=True)
        ]
        yield html.table(
            plasticity.HEAD, lines,
            "accuracy on the test images just before pruning, and after training on at that moment's learning rate",
            left=plasticity.LEFT,
        )  # fmt: skip


def _failures(sweep: Sweep, place: Place) -> Iterator[str]:
    bad = [result for result in sweep.results if result["status"] not in ("done", "dropped")]
    dropped = [result for result in sweep.results if result["status"] == "dropped"]
    collapsed = [result for result in sweep.results if result.get("collapsed")]
    if bad or dropped or collapsed:
        yield place.section("What went wrong")
    if bad:
        rows = [(place.trial(result["trial"]), result["status"], why(result)) for result in bad]
        yield html.table(("trial", "status", "why"), rows, "Trials without a ticket", left=(1, 2))
        yield from _tracebacks(bad)
    if dropped:
        yield f'<p class="note">The search stopped {len(dropped)} trials early, at a cheap rung: they did not fail.</p>'
    if collapsed:
        emptied = [(place.trial(result["trial"]), ", ".join(result["collapsed"])) for result in collapsed]
        head = ("trial", "layers that keep no weight")
        yield html.table(head, emptied, "Tickets with an emptied layer", left=(1,))


def _tracebacks(bad: Sequence[Result]) -> Iterator[str]:
    """Each traceback once, with the first trial that has it: what fails at all fails often in the same way."""
    first: dict[str, str] = {}
    for result in bad:
        if result["error"] and result["error"]["traceback"]:
            first.setdefault(result["error"]["traceback"], result["trial"])
    for traceback, trial in list(first.items())[:TRACEBACKS]:
        yield html.folded(f"The traceback of {trial}", traceback)
