"""jackpot gc: drop the stages that no ticket needs."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.common import open_sweep, said

EXAMPLES = "Examples: jackpot gc sweeps/quickstart --dry-run | jackpot gc sweeps/quickstart"


def command(
    sweep: Annotated[str, typer.Argument(help="A sweep's folder, or the name of one in ./sweeps.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go; remove nothing.")] = False,
) -> None:
    """Drop the stages that no ticket still to be found needs. Results and tickets stay; extending the sweep
    later trains again what was dropped."""
    from orchestrator.sweep.collect import collect_alone

    folder = open_sweep(sweep)
    with said():
        stages, size = collect_alone(folder, dry_run=dry_run)
    print(f"{folder.address}: {stages} stages, {size / 2**20:.1f} MiB {'would be ' if dry_run else ''}dropped")
