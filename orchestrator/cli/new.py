"""jackpot new: a commented spec to start from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from orchestrator.cli.common import wrong

EXAMPLES = "Example: jackpot new my-sweep.yaml"


def command(file: Annotated[str, typer.Argument(help="The file to write.")] = "sweep.yaml") -> None:
    """Write a commented spec to start from."""
    from orchestrator.engine.files import write_text
    from orchestrator.spec.starter import template

    path = Path(file)
    if path.exists():
        wrong(f"{file}: exists already; name another file or remove it")
    try:
        write_text(path, template())
    except OSError as error:
        wrong(f"{file}: cannot be written ({error.strerror})")
    print(f"wrote {file}; next: jackpot validate {file}, then jackpot run {file}")
