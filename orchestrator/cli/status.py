"""jackpot status: how far a sweep is."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from orchestrator.cli.common import open_sweep, print_json, said

EXAMPLES = "Examples: jackpot status quickstart | jackpot status sweeps/mine --watch"

WATCH_SECONDS = 2.0


def command(
    sweep: Annotated[str, typer.Argument(help="A sweep's folder, or the name of one in ./sweeps.")],
    json: Annotated[bool, typer.Option("--json", help="Say it as JSON.")] = False,
    trials: Annotated[bool, typer.Option("--trials", help="List every trial with its accuracy or its error.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Say it again every two seconds until the sweep ends.")
    ] = False,
) -> None:
    """What is done, running, failed and left; how busy the slots were; how large the store is."""
    from orchestrator.engine.status import status

    folder = open_sweep(sweep)
    while True:
        with said():
            now = status(folder)
        if json:
            print_json(now)
        else:
            _show(now)
            if trials:
                _list(now["states"])
        if not watch or now["driver"] is None:
            return
        time.sleep(WATCH_SECONDS)
        with said():
            folder.pull()


def _show(now: dict[str, Any]) -> None:
    from orchestrator.engine.stragglers import describe

    print(f"{now['sweep']}: {'running, ' + now['driver'] if now['driver'] else 'not running'}")
    counts = ", ".join(f"{count} {state}" for state, count in now["counts"].items() if count)
    print(f"{now['trials']} trials: {counts}")
    for trial in now["running"]:
        print(f"  running: {trial}")
    for trial, status in now["bad"].items():
        print(f"  {status}: {trial}: {now['states'][trial]['why']} (jackpot logs {now['folder']}/trials/{trial})")
    print(f"epochs: {now['epochs_trained']:g} trained, {now['epochs_distinct']:g} distinct in the plan")
    if now["busy"] is not None:
        print(f"slots: {now['slots']}, busy {100 * now['busy']:.1f} % from the first to the last start of a trial")
    for slow in now["stragglers"]:
        print(describe(slow))
    print(f"store: {now['stages']} stages, {now['store_bytes'] / 2**20:.1f} MiB")


def _list(states: dict[str, dict[str, Any]]) -> None:
    width = max(map(len, states), default=0)
    for trial, found in states.items():
        shown = found.get("why", "")
        for kind, name in (("validation", "accuracy/val"), ("test", "accuracy/test")):  # a proposal has no test
            if not found.get("why") and found.get(name) is not None:
                shown = f"{kind} accuracy {100 * found[name]:.2f} %"
        print(f"  {trial:<{width}}  {found['state']:<8}  {shown}".rstrip())
