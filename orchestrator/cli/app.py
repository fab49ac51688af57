"""The command `jackpot`: one small file a verb. Nothing heavy is imported before a verb runs."""

from __future__ import annotations

import importlib.metadata
from typing import Annotated

import typer

from orchestrator.cli import (
    cluster,
    compare,
    doctor,
    export,
    gc,
    logs,
    methods,
    new,
    ratios,
    report,
    run,
    schema,
    status,
    stop,
    submit,
    sync,
    ui,
    validate,
)

app = typer.Typer(
    name="jackpot",
    help="Find out which lottery ticket wins: sweeps of neural-network pruning under one protocol.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    pretty_exceptions_enable=False,
)


def _say_version(asked: bool) -> None:
    if asked:
        print(f"jackpot {importlib.metadata.version('jackpot-tickets')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Say Jackpot's version.", callback=_say_version, is_eager=True)
    ] = False,
) -> None:
    pass


for verb in (
    run, validate, methods, ratios, status, logs, report, compare, stop, gc, submit, sync, ui, export,
    doctor, new, schema,
):  # fmt: skip
    app.command(name=verb.__name__.rpartition(".")[2], epilog=verb.EXAMPLES)(verb.command)


app.add_typer(cluster.app, name="cluster")


def main() -> None:
    """Run the command line. Exit codes: 0 well, 1 some trials failed, 2 the request was wrong, 130 interrupted."""
    app()
