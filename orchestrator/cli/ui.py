"""jackpot ui: MLflow's pages on a sweep."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.common import Where, load_tracked, open_sweep, said, wrong

EXAMPLES = "Example: jackpot ui sweeps/quickstart"


def command(
    sweep: Annotated[str, typer.Argument(help="A sweep's folder, or the name of one in ./sweeps.")],
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port to listen on (default: the first free one from 5000).")
    ] = None,
    tracking: Where = None,
) -> None:
    """Open MLflow on the sweep's runs, on this machine alone, until Ctrl-C."""
    from orchestrator.engine.results import run_status
    from orchestrator.tracking import TrackingError, serve

    folder = open_sweep(sweep)
    with said():
        spec = load_tracked(folder, tracking)
        status = None if folder.driver() else run_status(folder)
    try:
        serve(folder.path, spec.name, spec.tracking, say=lambda line: print(line, flush=True), port=port, status=status)
    except (TrackingError, ValueError) as error:
        wrong(str(error))
