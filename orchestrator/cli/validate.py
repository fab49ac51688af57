"""jackpot validate: say all that is wrong with a spec."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.common import print_json, told_of_data

EXAMPLES = "Examples: jackpot validate my.yaml | jackpot validate quickstart --json"


def command(
    spec: Annotated[str, typer.Argument(help="A spec's path, or the name of one that comes with Jackpot.")],
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one value.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Say it as JSON.")] = False,
) -> None:
    """Say all that is wrong with a spec, each with its line and what was expected."""
    from orchestrator.api import faults
    from orchestrator.engine.check import notes
    from orchestrator.spec.loading import load

    loaded = load(spec, set_ or [])
    with told_of_data():
        problems = faults(loaded)
    said = [] if problems else notes(loaded)
    if json:
        print_json({"valid": not problems, "problems": problems, "notes": said})
    else:
        print("\n".join([*(problems or [f"{spec}: nothing is wrong"]), *(f"note: {note}" for note in said)]))
    raise typer.Exit(2 if problems else 0)
