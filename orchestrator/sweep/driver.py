"""The driver of a sweep: runs on Ray Tune what has no result yet, and counts what fails."""

from __future__ import annotations

import os
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from orchestrator.engine.files import write_sealed
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.plan import Plan, Planned
from orchestrator.engine.setting import Setting
from orchestrator.engine.trial import blank_result
from orchestrator.spec.models import Spec
from orchestrator.sweep.outcome import resume_hint
from orchestrator.sweep.progress import Progress
from orchestrator.sweep.schedule import Schedule
from orchestrator.sweep.session import ClusterError, interrupts, ray_session

STOP_SECONDS = 3.5
"""How long workers get to keep their checkpoints before the driver leaves all the same."""


class Driver:
    """One run of a sweep: the trials that its plan does not know to be done. Results are kept by the workers; the
    driver writes those of trials that cannot."""

    def __init__(self, spec: Spec, folder: SweepFolder, plan: Plan, console: Console) -> None:
        self.spec, self.folder, self.plan = spec, folder, plan
        self.run_id = uuid.uuid4().hex
        self.failed = 0
        self.stopped: str | None = None
        self.interrupted = False
        self.schedule = Schedule(plan, folder.store.has)
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
            with interrupts(self.interrupt), ray_session(address), self.progress:
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
        """Trials at once: what the cluster's resources allow, at most `concurrency`. Raises ClusterError for none."""
        import ray

        total, each = ray.cluster_resources(), self.spec.resources
        fit = int(total.get("CPU", 0) // each.cpu)
        if each.gpu:
            fit = min(fit, int(total.get("GPU", 0) // each.gpu))
        if fit == 0:
            raise ClusterError(
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
