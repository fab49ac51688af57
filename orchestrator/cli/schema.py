"""jackpot schema: what a spec may say, and what the results say."""

from __future__ import annotations

from typing import Annotated

import typer

from orchestrator.cli.common import print_json

EXAMPLES = "Examples: jackpot schema > jackpot.schema.json | jackpot schema --results"


def command(
    results: Annotated[
        bool, typer.Option("--results", help="What the columns of results.csv are: type, unit, meaning, as JSON.")
    ] = False,
) -> None:
    """Print the spec's JSON schema, for editors that complete and check YAML; or describe results.csv."""
    if results:
        from orchestrator.engine.columns import describe

        print_json(describe())
        return
    from orchestrator.spec.json_schema import schema

    print_json(schema())
