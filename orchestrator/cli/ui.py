"""jackpot ui: MLflow's pages on a sweep."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.common import open_sweep, said, wrong

EXAMPLES = "Example: jackpot ui sweeps/quickstart"


def command(
    sweep: Annotated[str, typer.Argument(help="A sweep's folder, or the name of one in ./sweeps.")],
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port to listen on (default: the first free one from 5000).")
    ] = None,
) -> None:
    """Open MLflow on the sweep's runs, on this machine alone, until Ctrl-C."""
    from orchestrator.spec.loading import load
    from orchestrator.tracking import TrackingError, serve

    folder = open_sweep(sweep)
    with said():
        spec = load(folder.path / "spec.yaml").require()
    try:
        serve(folder.path, spec.name, spec.tracking, say=print, port=port)
    except (TrackingError, ValueError) as error:
        wrong(str(error))
