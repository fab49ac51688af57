"""Run or resume a sweep: plan it, drive what is left, write the table, bring MLflow up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from orchestrator.engine.files import write_sealed, write_text
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.plan import make_plan
from orchestrator.engine.results import write_csv
from orchestrator.spec.loading import dump
from orchestrator.spec.models import ImageFolder, Spec
from orchestrator.sweep.collect import collect
from orchestrator.sweep.driver import Driver
from orchestrator.sweep.outcome import Outcome, finished, resumed

TRACKING_SECONDS = 60.0
"""How long the last results may take to reach MLflow; what is late is brought by `jackpot sync`."""


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
    if isinstance(spec.data, ImageFolder):
        changes["data"] = spec.data.model_copy(update={"root": str(Path(spec.data.root).expanduser().absolute())})
    return spec.model_copy(update=changes)


def run_sweep(
    spec: Spec,
    folder: SweepFolder,
    *,
    only: str | None = None,
    address: str | None = None,
    hours: float | None = None,
    console: Console | None = None,
) -> Outcome:
    """Run or resume a sweep in its folder. Raises SpecError, FolderError, DataError, ModelError or ClusterError
    before anything is run where that cannot work."""
    from orchestrator.tracking import Follower

    console = console or Console(stderr=True)
    spec = anchored(spec)
    whole = make_plan(spec)
    whole.only(only)  # refuses a method that is not in it
    folder.prepare()
    with folder.driving():
        write_text(folder.path / "spec.yaml", dump(spec))
        whole = resumed(folder, whole)
        write_sealed(folder.path / "plan.json", whole.summary(folder.store.has))
        plan = whole.only(only)
        driver = Driver(spec, folder, plan, console)
        follower = None
        if spec.tracking.enabled:
            follower = Follower(folder.path, spec.name, spec.tracking, say=driver.progress.say)
        try:
            driver.run(address, hours)
        finally:
            found = finished(folder, plan)
            statuses = {planned.id: found.get(planned.id, "missing") for planned in plan.planned}
            outcome = Outcome(folder.path, plan, statuses, driver.stopped, driver.interrupted)
            write_csv(folder)
            if follower:
                outcome.tracking = follower.close(TRACKING_SECONDS, outcome.run_status)
        if spec.keep == "tickets" and outcome.exit_code == 0:
            collect(folder)
    return outcome
