"""Run or resume a sweep: plan it, drive what is left, write the table, bring MLflow up to date."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from methods import registry
from orchestrator.engine.data import load_data
from orchestrator.engine.files import write_sealed, write_text
from orchestrator.engine.folder import FolderError, SweepFolder
from orchestrator.engine.plan import Plan, make_plan
from orchestrator.engine.results import FINAL, run_status, write_csv
from orchestrator.engine.search import Ground
from orchestrator.engine.setting import Setting
from orchestrator.spec.loading import dump, load
from orchestrator.spec.models import Spec
from orchestrator.sweep.around import environment
from orchestrator.sweep.collect import collect
from orchestrator.sweep.driver import Driver
from orchestrator.sweep.outcome import Outcome, finished, resumed
from orchestrator.sweep.ratio_search import RatioSearch
from orchestrator.sweep.search_files import write_all, write_ratios, write_summary


def anchored(spec: Spec) -> Spec:
    """The spec with its paths made absolute: workers, and whoever resumes the sweep, may stand elsewhere."""
    changes: dict[str, Any] = {
        "model": [
            model.model_copy(update={"weights": str(Path(model.weights).absolute())})
            if model.weights and Path(model.weights).exists()
            else model
            for model in spec.model
        ]
    }
    if (root := getattr(spec.data, "root", None)) and "://" not in root:
        changes["data"] = spec.data.model_copy(update={"root": str(Path(root).expanduser().absolute())})
    if spec.search and spec.search.warm_starts:
        formulas = registry.get(spec.search.method.name).formulas
        starts = tuple(
            start if start in formulas else str(Path(start).expanduser().absolute())
            for start in spec.search.warm_starts
        )
        changes["search"] = spec.search.model_copy(update={"warm_starts": starts})
    return spec.model_copy(update=changes)


def run_sweep(
    spec: Spec,
    folder: SweepFolder,
    *,
    only: str | None = None,
    address: str | None = None,
    hours: float | None = None,
    console: Console | None = None,
    leave: bool = False,
    take_over: bool = False,
    describe: Callable[[SweepFolder], object] = lambda folder: None,
    report: Callable[[SweepFolder], object] = lambda folder: None,
) -> Outcome:
    """Run or resume a sweep in its folder. Ctrl-C stops it and it returns, once its workers have kept their
    checkpoints; with `leave`, as for a command, the process ends where they take longer than a few seconds. `describe`
    writes what MLflow says of the sweep meanwhile; `report` the sweep's page at the end, unless it was told to stop.
    `take_over`: see SweepFolder.driving. Raises SpecError, FolderError, DataError, ModelError or ClusterError before
    anything is run where that cannot work."""
    from orchestrator.tracking import Follower

    console = console or Console(stderr=True)
    spec = anchored(spec)
    whole = make_plan(spec)
    whole.only(only)  # refuses a method that is not in it
    folder.prepare()
    with folder.driving(take_over):
        folder.pull()
        _refuse_another(folder, spec)
        write_text(folder.path / "spec.yaml", dump(spec))
        whole = resumed(folder, whole)
        plan = whole.only(only)
        began = time.monotonic()
        search = None
        if spec.search and only in (None, spec.search.method.name):
            search = RatioSearch(spec, folder, plan, hours=lambda: (time.monotonic() - began) / 3600)
        driver = Driver(spec, folder, plan, console, leave, search)
        summary = {
            **whole.summary(folder.store.knows),
            "run": driver.run_id,
            "search": _searched(spec),
            "environment": environment(),
        }
        write_sealed(folder.path / "plan.json", summary)
        for note in load_data(spec.data).notes:
            driver.progress.say(f"note: {note}")
        if search and (others := search.decisions.others):
            driver.progress.say(f"note: {others} proposals here are of another search (another space, sampler, seed, "
                                "recipe or warm start), and are not gone on with")  # fmt: skip
        if old := _replaced(folder, plan):
            driver.progress.say(f"{old} results are of other settings or other code: their trials run again")
        _report(folder, describe, driver, "summary.md")
        follower = None
        if spec.tracking.enabled:
            code = [model.name for model in spec.model]
            follower = Follower(folder.path, spec.name, spec.tracking, say=driver.progress.say, code=code)
        try:
            driver.run(address, hours)
        finally:
            found = finished(folder, plan)
            statuses = {planned.id: found.get(planned.id, "missing") for planned in plan.planned}
            undecided = search.undecided if search else 0
            outcome = Outcome(folder.path, plan, statuses, driver.stopped, driver.interrupted, undecided=undecided)
            try:
                if search:
                    _write_search(search, driver)
                    # what the search has decided on is of the plan now
                    write_sealed(folder.path / "plan.json", summary | {"epochs_distinct": plan.epochs_distinct})
                write_csv(folder)
                if not driver.interrupted:
                    _report(folder, report, driver, "report.html")
            finally:
                if follower:
                    outcome.tracking = follower.close(driver.leaving.patience(driver.interrupted), run_status(folder))
        if folder.still_driving():  # not over what another driver has written since it took over
            folder.push()
            if spec.keep == "tickets" and outcome.exit_code == 0:
                collect(folder)
    return outcome


def _write_search(search: RatioSearch, driver: Driver) -> None:
    """Write what a search leaves; of one that was interrupted, what takes no time."""
    try:
        if driver.interrupted:
            write_summary(search)
            write_ratios(search)
        else:
            write_all(search)
    except Exception as error:  # whatever is wrong with them, the results stand
        driver.progress.say(f"the search's files are not up to date ({error}); the next `jackpot run` writes them")


def _searched(spec: Spec) -> dict[str, Any] | None:
    """Which of the decisions in the folder are this spec's search's."""
    if spec.search is None:
        return None
    definition = Ground(Setting(spec, spec.model[0])).definition
    return {"definition": definition, "trials": spec.search.trials}


def _report(folder: SweepFolder, report: Callable[[SweepFolder], object], driver: Driver, what: str) -> None:
    try:
        report(folder)
    except Exception as error:  # whatever is wrong with the page, the results stand
        driver.progress.say(f"{what} is not up to date ({error}); `jackpot report {folder.address}` writes it")


def _refuse_another(folder: SweepFolder, spec: Spec) -> None:
    """Raise FolderError where the folder holds a sweep of another name, whose results this one would replace."""
    path = folder.path / "spec.yaml"
    there = load(path).parts.get("name") if path.exists() else None
    if there not in (None, spec.name):
        raise FolderError(
            f"{folder.address}: holds the sweep {there!r}, and the spec is named {spec.name!r}; choose another folder "
            "with --out, or give the spec that name if it is meant to change that sweep"
        )


def _replaced(folder: SweepFolder, plan: Plan) -> int:
    """How many trials of the plan have a result that stands no more, because their settings or code changed."""
    found = [folder.result(planned.id) for planned in plan.planned if planned.id not in plan.done]
    return sum(result is not None and result["status"] in FINAL for result in found)
