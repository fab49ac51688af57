"""jackpot schema: the spec's JSON schema, for editors."""

from __future__ import annotations

from orchestrator.cli.common import print_json

EXAMPLES = "Example: jackpot schema > jackpot.schema.json"


def command() -> None:
    """Print the spec's JSON schema, for editors that complete and check YAML."""
    from orchestrator.spec.json_schema import schema

    print_json(schema())
