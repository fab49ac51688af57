"""jackpot ui: MLflow's pages on a sweep."""

from __future__ import annotations

import re
import sys
from typing import Annotated

import typer

from orchestrator.cli.common import Where, load_tracked, open_sweep, said, wrong

EXAMPLES = (
    "Examples: jackpot ui sweeps/quickstart | jackpot ui quickstart --host 0.0.0.0 --allowed-hosts head-node,10.0.0.7"
)

_NAME = re.compile(r"[A-Za-z0-9_.-]+|\[[0-9a-fA-F:.]+\]")


def command(
    sweep: Annotated[str, typer.Argument(help="A sweep's folder, or the name of one in ./sweeps.")],
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port to listen on (default: the first free one from 5000).")
    ] = None,
    tracking: Where = None,
    host: Annotated[str, typer.Option(help="Address to listen on; other than loopback, others can reach it.")] = (
        "127.0.0.1"
    ),
    allowed_hosts: Annotated[
        str | None,
        typer.Option(metavar="NAME[,NAME]", help="Names under which other machines ask for the pages."),
    ] = None,
) -> None:
    """Open MLflow on the sweep's runs until Ctrl-C: on this machine alone, unless told otherwise."""
    from orchestrator.engine.results import run_status
    from orchestrator.tracking import TrackingError, is_loopback, is_server, serve, uri_of

    folder = open_sweep(sweep)
    allowed = _allowed(allowed_hosts)
    with said():
        folder.pull(tickets=True)
        spec = load_tracked(folder, tracking)
        status = None if folder.driver() else run_status(folder)
    try:
        if not is_loopback(host) and not is_server(uri_of(folder.path, spec.tracking)):
            _open_to_others(sweep, host, port, allowed)
        serve(
            folder.path, spec.name, spec.tracking, say=lambda line: print(line, flush=True), port=port, host=host,
            allowed=allowed, status=status,
        )  # fmt: skip
    except (TrackingError, ValueError) as error:
        wrong(str(error))


def _allowed(names: str | None) -> list[str]:
    found = [name.strip() for name in names.split(",")] if names is not None else []
    for name in found:
        if not _NAME.fullmatch(name):
            wrong(f"--allowed-hosts: {name!r} is no name of a machine; give names alone, such as head-node,10.0.0.7")
    return found


def _open_to_others(sweep: str, host: str, port: int | None, allowed: list[str]) -> None:
    """Refuse to listen where others reach it without a word on who may ask, and warn where there is one."""
    there = port or 5000
    forward = f"ssh -L {there}:127.0.0.1:{there} {allowed[0] if allowed else 'THIS-MACHINE'}"
    instead = f"`jackpot ui {sweep}` without --host, and `{forward}` on the machine with the browser"
    if not allowed:
        wrong(
            f"--host {host}: MLflow answers only to names that it was told, so that no foreign web page can ask it; "
            f"say with --allowed-hosts under which names this machine is asked, or better: {instead}"
        )
    print(
        f"warning: anyone who reaches {host} can read and delete these runs and download their tickets, for MLflow "
        f"has no password here; safer: {instead}",
        file=sys.stderr,
    )
