"""jackpot stop: end a running sweep cleanly."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from orchestrator.cli.common import open_sweep, said, wrong

if TYPE_CHECKING:
    from orchestrator.engine.folder import SweepFolder

EXAMPLES = "Example: jackpot stop sweeps/quickstart"

WAIT_SECONDS = 60.0


def command(
    sweep: Annotated[str, typer.Argument(help="A sweep's folder, or the name of one in ./sweeps.")],
) -> None:
    """End a running sweep: running trials keep a checkpoint; `jackpot run` goes on later."""
    folder = open_sweep(sweep)
    driver = _driver(folder)
    if driver is None:
        print(f"{folder.address}: not running")
        return
    with said():
        folder.request_stop("jackpot stop")
    waited = time.monotonic() + WAIT_SECONDS
    while _driver(folder) is not None:
        if time.monotonic() > waited:
            # of a machine elsewhere only the lock is known
            gone = "" if folder.shared else "; if its machine is gone for good, `jackpot run` needs --take-over"
            wrong(f"{folder.address}: asked to stop, but {driver} still runs after {WAIT_SECONDS:.0f} s{gone}")
        time.sleep(0.2)
    print(f"{folder.address}: stopped")


def _driver(folder: SweepFolder) -> str | None:
    with said():
        return folder.driver()
