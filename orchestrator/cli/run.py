"""jackpot run: run or resume a sweep."""

from __future__ import annotations

import os
import sys
import time
from typing import Annotated, Any

import typer

from orchestrator.cli.common import Where, load_checked, print_json, said, terminal, tracked_at, wrong

EXAMPLES = "Examples: jackpot run quickstart | jackpot run my.yaml --set recipe.epochs=5 --out /scratch/mine"


def command(
    spec: Annotated[str, typer.Argument(help="A spec's path, or the name of one that comes with Jackpot.")],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would run, and how long it takes; run nothing.")
    ] = False,
    no_time: Annotated[
        bool, typer.Option("--no-time", help="With --dry-run: do not measure how long it would take.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="With --dry-run: say it as JSON.")] = False,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one value.")] = None,
    out: Annotated[
        str | None, typer.Option(help="The sweep's folder, or s3://BUCKET/FOLDER (default: ./sweeps/NAME).")
    ] = None,
    only: Annotated[str | None, typer.Option(help="Run the trials of one method alone.")] = None,
    max_hours: Annotated[float | None, typer.Option(min=0.0, help="Stop after this long; resume any time.")] = None,
    address: Annotated[str | None, typer.Option(help="A running Ray cluster instead of one started here.")] = None,
    tracking: Where = None,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="The machine that drove this sweep in an object store is gone for good.")
    ] = False,
) -> None:
    """Run a sweep, or go on with one: what has a result is skipped, a training continues from its checkpoint."""
    if no_time and not dry_run:
        wrong("--no-time goes with --dry-run, which measures how long the sweep would take")
    if json and not dry_run:
        wrong("--json goes with --dry-run; the results of a run are in results.csv and `jackpot status --json`")
    chosen = load_checked(spec, [*(set_ or []), *tracked_at(tracking)]).require()
    if tracking is not None and not chosen.tracking.enabled:
        wrong("--tracking: the spec says `tracking: {enabled: false}`; add --set tracking.enabled=true")
    with said():
        if dry_run:
            _dry_run(chosen, out, only, json, timed=not no_time, cluster=address is not None)
            return
        _run(chosen, out, only=only, hours=max_hours, address=address, take_over=take_over)


def _dry_run(spec: object, out: str | None, only: str | None, json: bool, timed: bool, cluster: bool) -> None:
    import psutil

    from orchestrator.api import folder_for
    from orchestrator.engine.plan import make_plan
    from orchestrator.spec.models import Spec
    from orchestrator.sweep.forecast import forecast, lines
    from orchestrator.sweep.outcome import resumed
    from orchestrator.sweep.ratio_search import RatioSearch

    assert isinstance(spec, Spec)
    folder = folder_for(spec, out)
    folder.pull()
    plan = resumed(folder, make_plan(spec)).only(only)
    search = RatioSearch(spec, folder, plan) if spec.search and only in (None, spec.search.method.name) else None
    summary = plan.summary(folder.store.knows) | ({"search": search.forecast()} if search else {})
    planning = time.time() - psutil.Process().create_time()

    def measure() -> dict[str, Any]:
        return forecast(spec, folder, plan, planning, summary.get("search"))

    if json:
        print_json(summary | ({"time": measure()} if timed else {}))
        return
    for row in summary["planned"]:
        shared = f", {row['shared_stages']} shared with other trials" if row["shared_stages"] else ""
        most = "at most " if row["at_most"] else ""
        state = "done" if row["done"] else f"{most}{row['epochs']:g} epochs, {row['stages']} stages{shared}"
        print(f"{row['trial']}: {state}")
    print(f"{summary['trials']} trials, {summary['stages']} distinct stages")
    print(
        f"{'at most ' if summary['at_most'] else ''}{summary['epochs_requested']:g} epochs requested, "
        f"{summary['epochs_distinct']:g} distinct, {summary['epochs_to_train']:g} left to train"
    )
    if search:
        said = summary["search"]
        print(
            f"search: {said['proposals']} proposals of the sampler's and {said['finalists']} trials of finalists, each "
            f"of {said['epochs_each']:g} epochs, are decided on as results come in: at most {said['epochs']:g} epochs "
            "more"
        )
    if timed:
        print("\n".join(lines(measure(), cluster)))


def _run(spec: object, out: str | None, **options: Any) -> None:
    from rich.console import Console

    from orchestrator.api import folder_for, run
    from orchestrator.engine.results import BAD, why
    from orchestrator.engine.stragglers import describe, stragglers
    from orchestrator.report.page import FILE
    from orchestrator.report.search_verdicts import brief
    from orchestrator.report.sweeps import read
    from orchestrator.report.table import accuracy_tables, sanity_table, search_tables
    from orchestrator.spec.models import Spec
    from orchestrator.sweep.outcome import resume_hint

    assert isinstance(spec, Spec)
    console = terminal()
    folder = folder_for(spec, out)
    outcome = run(spec, out=out, console=Console(stderr=True), leave=True, **options)
    sweep = read(folder)
    tables = [*accuracy_tables(sweep.results), *search_tables(folder), *sanity_table(sweep.results, sweep.margin)]
    for title, table in tables:
        print(title, flush=True)
        console.print(table)
    for sentence in brief(sweep.searched):
        print(f"search:  {sentence}")
    here = min(os.path.relpath(folder.path), str(folder.path), key=len)  # a cluster's job begins far from it
    where = here if folder.shared else folder.address
    print(f"results: {where}/results.csv, a folder a trial in {where}/trials")
    if (folder.path / "ratios" / "best.json").exists():
        print(f"ratios:  {where}/ratios, files that `ratios:` takes in any spec, best.json the best")
    if (folder.path / FILE).exists() and not outcome.interrupted:
        print(f"report:  {here}/{FILE}")
    if spec.tracking.enabled:
        print(f"browse:  jackpot ui {where}")
    if outcome.tracking:
        print(outcome.tracking)
    for slow in stragglers(folder.events(path.name) for path in folder.path.glob("trials/*")):
        print(describe(slow))
    for trial in [trial for trial, status in outcome.statuses.items() if status in BAD]:
        result = folder.result(trial) or {"status": "missing", "error": None, "blocked_by": None}
        print(f"{result['status']}: {trial}: {why(result)}; see `jackpot logs {where}/trials/{trial}`")
    if outcome.stopped:
        print(f"stopped: {outcome.stopped}; {resume_hint(folder)}")
    if outcome.interrupted:
        sys.stdout.flush()
        os._exit(outcome.exit_code)  # Python's own end takes seconds with Ray and torch loaded; Ctrl-C promises five
    raise typer.Exit(outcome.exit_code)
