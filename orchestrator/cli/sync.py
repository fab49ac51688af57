"""jackpot sync: bring MLflow up to date with the results on disk."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.common import Where, load_tracked, open_sweep, said, wrong

EXAMPLES = "Example: jackpot sync sweeps/quickstart"


def command(
    sweep: Annotated[str, typer.Argument(help="A sweep's folder, or the name of one in ./sweeps.")],
    tracking: Where = None,
) -> None:
    """Bring MLflow up to date with the results on disk; safe to repeat."""
    from orchestrator.engine.results import run_status
    from orchestrator.tracking import Tracker

    folder = open_sweep(sweep)
    with said():
        folder.pull(tickets=True)
        spec = load_tracked(folder, tracking)
        status = None if folder.driver() else run_status(folder)
    try:
        report = Tracker(folder.path, spec.name, spec.tracking).sync(status=status)
    except ValueError as error:
        wrong(str(error))
    if report.logged or report.skipped or not report.message:
        print(f"{len(report.logged)} trials logged, {len(report.skipped)} were up to date")
    if report.message:
        typer.echo(report.message, err=True)
        raise typer.Exit(1)
