"""jackpot compare: trials side by side."""

from __future__ import annotations

import os
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestrator.cli.common import find_trial, print_json, said, terminal, wrong

if TYPE_CHECKING:
    from orchestrator.engine.folder import SweepFolder

EXAMPLES = (
    "Examples: jackpot compare quickstart/convnet_snip_s90_seed0 quickstart/convnet_lottery_s90_seed0 | "
    "jackpot compare one/convnet_dense_seed0 two/convnet_dense_seed0 --all"
)

Found = list[tuple["SweepFolder", str]]


def command(
    trials: Annotated[
        list[str],
        typer.Argument(metavar="TRIAL...", help="Two or more: a folder, SWEEP/TRIAL, or the id of one in ./sweeps."),
    ],
    all_: Annotated[bool, typer.Option("--all", help="Show the settings that agree too.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Say it as JSON.")] = False,
) -> None:
    """What differs between trials, which is best in what, and where MLflow compares them."""
    from orchestrator.report.side_by_side import as_data

    found = [find_trial(trial) for trial in trials]
    results = _results(found)
    if json:
        print_json(as_data([str(folder.path) for folder, _ in found], results) | {"mlflow": _mlflow(found)})
    else:
        _show(found, results, all_)


def _results(found: Found) -> list[dict[str, Any]]:
    """The results of the trials, which must be two or more, each named once, each with a result."""
    names = [f"{folder.name}/{trial}" for folder, trial in found]
    places = Counter((folder.path.resolve(), trial) for folder, trial in found)
    if twice := [trial for (_, trial), count in places.items() if count > 1]:
        wrong(f"{twice[0]}: named twice; each trial is compared with the others once")
    if len(found) < 2:
        wrong(f"{names[0]}: name another trial to compare it with (`jackpot status SWEEP --trials` lists them)")
    with said():
        results = [folder.result(trial) for folder, trial in found]
    if missing := [name for name, result in zip(names, results, strict=True) if result is None]:
        wrong(*(f"{name}: no result yet, so nothing to compare" for name in missing))
    return [result for result in results if result is not None]


def _show(found: Found, results: list[dict[str, Any]], alike: bool) -> None:
    from orchestrator.engine.results import why
    from orchestrator.report.side_by_side import BEST, table

    for number, (folder, trial) in enumerate(found, 1):
        print(f"{number}  {folder.name}/{trial}", flush=True)
    terminal().print(table(results, alike))
    print(f"{BEST} the best of its row; one trial against another proves nothing: `jackpot report` compares the means")
    for (folder, trial), result in zip(found, results, strict=True):
        if result["status"] != "done":
            where = os.path.relpath(folder.path / "trials" / trial)
            print(f"{result['status']}: {trial}: {why(result) or 'no ticket'}; see `jackpot logs {where}`")
    asked = _mlflow(found)
    if asked["address"] is None:
        print(f"mlflow:  no comparison: {asked['why']}")
    elif asked["served_by"] is None:
        print(f"mlflow:  {asked['address']}")
    else:
        print(f"mlflow:  while `{asked['served_by']}` runs, on its default port 5000, the comparison is at")
        print(f"  {asked['address']}")


def _mlflow(found: Found) -> dict[str, str | None]:
    """The address of MLflow's comparison, the command that serves it where no server does, or why there is none."""
    from orchestrator.spec.loading import load
    from orchestrator.spec.problems import SpecError
    from orchestrator.tracking import Asked, TrackingError, comparison

    sweeps = {folder.path: [t for other, t in found if other.path == folder.path] for folder, _ in found}
    try:
        specs = {path: load(path / "spec.yaml").require() for path in sweeps}
        at = comparison([Asked(path, specs[path].tracking, trials) for path, trials in sweeps.items()])
    except (TrackingError, SpecError, OSError, ValueError) as error:
        return {"address": None, "served_by": None, "why": str(error).splitlines()[0]}
    command = None if at.served else f"jackpot ui {os.path.relpath(found[0][0].path)}"
    return {"address": at.address, "served_by": command, "why": None}
