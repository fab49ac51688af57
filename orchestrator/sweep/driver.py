"""The driver of a sweep: plans it, runs on Ray Tune what has no result yet, and says how it ended."""

from __future__ import annotations

import logging
import os
import shlex
import signal
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from orchestrator.engine.files import write_sealed, write_text
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.plan import Plan, Planned, make_plan
from orchestrator.engine.results import write_csv
from orchestrator.engine.setting import Setting
from orchestrator.engine.trial import blank_result
from orchestrator.spec.loading import dump
from orchestrator.spec.models import ImageFolder, Spec
from orchestrator.sweep.collect import collect
from orchestrator.sweep.progress import Progress
from orchestrator.sweep.schedule import Schedule

log = logging.getLogger(__name__)

FINAL = ("done", "diverged")
"""Results that stand; a failed or blocked trial is run again by the next run."""
STOP_SECONDS = 3.5
"""How long workers get to keep their checkpoints before the driver leaves all the same."""
TRACKING_SECONDS = 60.0
"""How long the last results may take to reach MLflow; what is late is brought by `jackpot sync`."""


@dataclass
class Outcome:
    """How a run ended."""

    folder: Path
    plan: Plan
    statuses: dict[str, str] = field(default_factory=dict)
    """Planned trial -> status of its result, "missing" where there is none."""
    stopped: str | None = None
    """Why the run ended early, if it did."""
    interrupted: bool = False
    """Whether that was on request, rather than for too many failures."""
    tracking: str | None = None
    """What to do about tracking that lags behind, if it does."""

    @property
    def exit_code(self) -> int:
        """0 if every planned trial has a result that stands, 130 if stopped on request, else 1."""
        if all(status in FINAL for status in self.statuses.values()):
            return 0
        return 130 if self.interrupted else 1

    @property
    def run_status(self) -> str:
        """MLflow's word for how the sweep ended."""
        return {0: "FINISHED", 1: "FAILED", 130: "KILLED"}[self.exit_code]


def finished(folder: SweepFolder, plan: Plan) -> dict[str, str]:
    """The planned trials whose result on disk is valid, with its status."""
    found = {}
    for planned in plan.planned:
        result = folder.result(planned.id)
        if result is not None and result["key"] == planned.chain.key:
            found[planned.id] = result["status"]
    return found


class Driver:
    """One run of a sweep. Results are kept by the workers; the driver writes those of trials that cannot."""

    def __init__(self, spec: Spec, folder: SweepFolder, plan: Plan, console: Console) -> None:
        self.spec, self.folder, self.plan = spec, folder, plan
        self.run_id = uuid.uuid4().hex
        self.failed = 0
        self.stopped: str | None = None
        self.interrupted = False
        before = finished(folder, plan)
        left = [planned.id for planned in plan.planned if before.get(planned.id) not in FINAL]
        self.schedule = Schedule(plan, left, folder.store.has)
        self.progress = Progress(folder, plan, self.schedule, self.run_id, console)

    def run(self, address: str | None, hours: float | None) -> None:
        """Run what is left. Returns when all of it has ended or the sweep was stopped."""
        if not self.schedule.waiting:
            return
        deadline = (
            threading.Timer(hours * 3600, self.stop, [f"--max-hours {hours:g} is over"]) if hours is not None else None
        )
        if deadline:
            deadline.daemon = True
            deadline.start()
        try:
            with _interrupts(self.interrupt), _ray(address), self.progress:
                self._fit()
        finally:
            if deadline:
                deadline.cancel()

    def _fit(self) -> None:
        from ray import tune  # Ray is loaded only where a sweep really runs

        from orchestrator.sweep.search import Endings, PlannedSearch
        from orchestrator.sweep.worker import Worker

        slots = self.slots()
        resources = {"cpu": self.spec.resources.cpu, "gpu": self.spec.resources.gpu}
        worker = tune.with_parameters(Worker, spec=self.spec, folder=str(self.folder.path), run=self.run_id)
        with tempfile.TemporaryDirectory(prefix="jackpot-tune-") as storage:
            tuner = tune.Tuner(
                tune.with_resources(worker, resources),
                tune_config=tune.TuneConfig(
                    search_alg=PlannedSearch(self.schedule, self.plan.instructions),
                    num_samples=len(self.schedule.waiting),
                    max_concurrent_trials=slots,
                    reuse_actors=True,
                ),
                run_config=tune.RunConfig(
                    name="sweep",
                    storage_path=storage,
                    verbose=0,
                    callbacks=[Endings(self.ended, self.again, self.died)],
                    failure_config=tune.FailureConfig(max_failures=self.spec.failures.max_failures),
                    checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                ),
            )
            tuner.fit()

    def slots(self) -> int:
        """Trials at once: what the cluster's resources allow, at most `concurrency`."""
        import ray

        total, each = ray.cluster_resources(), self.spec.resources
        fit = int(total.get("CPU", 0) // each.cpu)
        if each.gpu:
            fit = min(fit, int(total.get("GPU", 0) // each.gpu))
        if fit == 0:
            raise RuntimeError(
                f"no trial fits: each asks for {each.cpu} CPU and {each.gpu:g} GPU, the cluster has "
                f"{total.get('CPU', 0):g} CPU and {total.get('GPU', 0):g} GPU; lower `resources` in the spec"
            )
        return min(fit, self.spec.concurrency or fit)

    # What happens while it runs

    def ended(self, trial: str, result: Mapping[str, Any]) -> None:
        """A trial has come to its end in its worker."""
        self.schedule.ended(trial)
        if result["status"] == "unwritable":
            self._unwritable(result["error"])
        elif result["status"] in ("failed", "blocked"):
            self._count_failure(trial, result.get("failed_stage"))
        if self.folder.stop_requested():  # by another process, with `jackpot stop`
            self.stop(self.folder.stop_file.read_text(encoding="utf-8").strip())

    def again(self, trial: str) -> None:
        """A trial's worker died and the trial is started again: its stages and checkpoints are kept."""
        self.progress.say(f"{trial}: its worker process died; started again")

    def died(self, trial: str, times: int) -> None:
        """A trial's worker died more often than the spec allows: the driver writes the result it could not."""
        self.schedule.ended(trial)
        events = self.folder.events(trial)
        stage = next((event["stage"] for event in reversed(events) if "stage" in event), None)
        message = (
            f"its worker process died {times} times (killed, or out of memory); see `jackpot logs {trial}`, lower "
            "`concurrency` or the batch size, or raise `failures.max_failures`"
        )
        self._write(trial, {"status": "failed", "failed_stage": stage}, message)
        self._count_failure(trial, stage)

    def _count_failure(self, trial: str, stage: str | None) -> None:
        self.failed += 1
        for planned in self.schedule.block(stage) if stage else []:
            self._write(
                planned.id,
                {"status": "blocked", "blocked_by": trial},
                f"needs a stage that failed in {trial}",
            )
            self.failed += 1
        limit = self.spec.failures.max_failed_trials
        if limit is not None and self.failed > limit and self.stopped is None:
            self.stopped = f"{self.failed} trials failed, more than failures.max_failed_trials: {limit}"
            self.schedule.stop()

    def _write(self, trial: str, fields: dict[str, Any], message: str) -> None:
        planned: Planned = self.plan.by_id[trial]
        result = blank_result(Setting(self.spec, planned.trial.model), planned.trial, planned.chain.key, 0)
        error = {"type": "WorkerDied" if fields["status"] == "failed" else "Blocked", "message": message}
        result |= {**fields, "error": {**error, "traceback": ""}, "ended": time.time()}
        try:
            write_sealed(self.folder.trial(trial) / "result.json", result)
        except OSError as error:  # raised from here it would end Tune's loop with a traceback
            self._unwritable(str(error))

    def _unwritable(self, error: str) -> None:
        """The folder takes no more: going on would only lose work."""
        self.stopped = self.stopped or f"{self.folder.path} cannot be written: {error}; free space or mend it"
        self.schedule.stop()

    def stop(self, why: str) -> None:
        """Ask all to stop; whoever runs keeps a checkpoint."""
        self.stopped, self.interrupted = self.stopped or why, True
        self.schedule.stop()
        self.folder.request_stop(why)

    def interrupt(self) -> None:
        """Ctrl-C: stop; leave within five seconds whatever happens."""
        self.stop("interrupted")
        leave = threading.Timer(STOP_SECONDS, self._leave)
        leave.daemon = True
        leave.start()

    def _leave(self) -> None:
        try:
            self.progress.close()
            print(resume_hint(self.folder), flush=True)
        finally:
            os._exit(130)  # Ray's processes end with the driver that started them


def resume_hint(folder: SweepFolder) -> str:
    """How to go on with a sweep that was stopped."""
    again = shlex.join(["jackpot", "run", str(folder.path / "spec.yaml"), "--out", str(folder.path)])
    return f"stopped; everything finished is kept. To go on: {again}"


@contextmanager
def _interrupts(handler: Any) -> Iterator[None]:
    """Call `handler` on Ctrl-C and on SIGTERM instead of raising, where this is the main thread."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: handler()) for number in signals}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def _ray(address: str | None) -> Iterator[None]:
    """A Ray cluster: the one at `address`, the one this process is connected to, or one started here."""
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # Tune says nothing: progress is ours
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # Ctrl-C is ours
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"  # results are our own files
    os.environ["TUNE_GLOBAL_CHECKPOINT_S"] = "1000000000"  # Tune's snapshots are never restored
    import ray

    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # a worker's death is told in our own words
    if ray.is_initialized():
        yield
        return
    ray.init(
        address=address or "local",
        include_dashboard=False if address is None else None,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )
    try:
        yield
    finally:
        ray.shutdown()


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
    """Run or resume a sweep in its folder. Raises SpecError, FolderError, DataError or ModelError before anything
    is run where that cannot work."""
    from orchestrator.tracking import Follower

    console = console or Console(stderr=True)
    spec = anchored(spec)
    whole = make_plan(spec)
    plan = whole.only(only)
    folder.prepare()
    with folder.driving():
        write_text(folder.path / "spec.yaml", dump(spec))
        write_sealed(folder.path / "plan.json", whole.summary(folder.store.has, []))
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
