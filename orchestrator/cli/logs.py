"""jackpot logs: what a trial said."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.common import find_trial, said, wrong

EXAMPLES = "Example: jackpot logs quickstart/convnet_snip_s90_seed0"


def command(
    trial: Annotated[str, typer.Argument(help="A trial: its folder, SWEEP/TRIAL, or the id of one in ./sweeps.")],
) -> None:
    """Print a trial's log, its status and the full traceback of its error."""
    folder, name = find_trial(trial)
    path = folder.trial(name) / "log.txt"
    if path.exists():
        print(path.read_text(encoding="utf-8", errors="replace"), end="")
    with said():
        result = folder.result(name)
    if result is None:
        if not path.exists():
            wrong(f"{trial}: has not run yet")
        print(f"{name}: no result yet")
        return
    print(f"{name}: {result['status']}" + (f" by {result['blocked_by']}" if result["blocked_by"] else ""))
    if error := result["error"]:
        print(f"{error['traceback'].rstrip()}\n{error['type']}: {error['message']}".lstrip())
