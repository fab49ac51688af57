"""The driver of a sweep: runs on Ray Tune what has no result yet, and counts what fails."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from rich.console import Console

from orchestrator.engine.files import patiently
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.plan import Plan, Planned
from orchestrator.engine.results import BAD, FINAL
from orchestrator.engine.setting import Setting
from orchestrator.engine.trial import blank_result, write_result
from orchestrator.spec.models import Spec
from orchestrator.sweep.deaths import Deaths
from orchestrator.sweep.leaving import Leaving, timer
from orchestrator.sweep.outcome import resume_hint
from orchestrator.sweep.progress import Progress
from orchestrator.sweep.ratio_search import RatioSearch
from orchestrator.sweep.schedule import Schedule
from orchestrator.sweep.session import interrupts, ray_session, trial_slots
from orchestrator.sweep.sharing import regularly
from orchestrator.sweep.turns import Turns

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How often it is looked whether the sweep is to stop."""


class Driver:
    """One run of a sweep: the trials that its plan does not know to be done. Results are kept by the workers; the
    driver writes those of trials that cannot.

    leave: on Ctrl-C end the process with 130 where workers take longer than a few seconds to stop."""

    def __init__(
        self,
        spec: Spec,
        folder: SweepFolder,
        plan: Plan,
        console: Console,
        leave: bool = False,
        search: RatioSearch | None = None,
    ) -> None:
        self.spec, self.folder, self.plan = spec, folder, plan
        self.run_id = uuid.uuid4().hex
        self.failed = 0
        self._deaths = Deaths(folder, self.run_id, spec.failures.max_failures)
        self.stopped: str | None = None
        self.interrupted = False
        self._search = search
        if search:
            search.advance()
        folder.push()  # what is decided on is kept before it runs
        self.schedule = Schedule(plan, folder.store.knows)
        undecided = (lambda: search.undecided) if search else (lambda: 0)
        self.progress = Progress(folder, plan, self.schedule, self.run_id, console, undecided)
        self._turns = Turns(search, folder, plan, self.schedule, self.progress, self._patiently)
        self.leaving = Leaving(
            leave, self.progress.close, lambda: f"stopped: {self.stopped}; {resume_hint(self.folder)}"
        )

    def run(self, address: str | None, hours: float | None) -> None:
        """Run what is left. Returns when all of it has ended or the sweep was stopped."""
        if not self.schedule.waiting and self._turns.over:
            return
        deadline = None
        if hours is not None:
            seconds = min(hours * 3600, threading.TIMEOUT_MAX)
            deadline = timer(seconds, lambda: self.stop(f"--max-hours {hours:g} is over"))
        self._turns.begin()
        try:
            sharing = contextlib.nullcontext() if self.folder.shared else regularly(self._share, "sharing")
            looking = regularly(self._look_for_stop, "stop", max(LOOK_SECONDS, self.folder.look_seconds))
            with interrupts(self.interrupt), ray_session(address), sharing, looking, self.progress:
                self._fit()
                while self.schedule.waiting:  # lost when Tune would take no more
                    self._fit()
        finally:
            self.leaving.cancel()
            if deadline:
                deadline.cancel()

    def _fit(self) -> None:
        from ray import tune  # Ray is loaded only where a sweep really runs

        from orchestrator.sweep.devices import device_of
        from orchestrator.sweep.search import Endings, PlannedSearch, rung_scheduler
        from orchestrator.sweep.worker import Worker

        slots = trial_slots(self.spec.resources, self.spec.concurrency)
        resources = {"cpu": self.spec.resources.cpu, "gpu": self.spec.resources.gpu}
        if (device := device_of(self.spec, slots)) is not None:
            self.progress.say(f"note: latencies are measured on machines with {device}")
        worker = tune.with_parameters(
            Worker, spec=self.spec, folder=self.folder.address, run=self.run_id, cwd=os.getcwd(),
            device=device,
        )  # fmt: skip
        endings = Endings(
            self.ended, self.died, self.dropped, self.progress.started, self.stalled, self.schedule.again,
            lambda: self.schedule.stopped,
        )  # fmt: skip
        with tempfile.TemporaryDirectory(prefix="jackpot-tune-") as storage:
            self.leaving.storage = storage
            tuner = tune.Tuner(
                tune.with_resources(worker, resources),
                tune_config=tune.TuneConfig(
                    search_alg=PlannedSearch(
                        self.schedule, lambda p: {**self.plan.instructions(p), "slots": slots}, self._turns.waits
                    ),
                    scheduler=rung_scheduler(self.spec.search) if self._search else None,
                    num_samples=-1 if self._search else len(self.schedule.waiting),  # the searcher says when it is over
                    max_concurrent_trials=slots,
                    reuse_actors=True,
                ),
                run_config=tune.RunConfig(
                    name="sweep",
                    storage_path=storage,
                    verbose=0,
                    callbacks=[endings],
                    stop=endings,
                    failure_config=tune.FailureConfig(max_failures=-1),  # `died` says when it is enough
                    checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
                ),
            )
            tuner.fit()

    def _share(self) -> None:
        """Bring here what running trials say of themselves, and there what is known of the sweep."""
        if not self.folder.still_driving():
            self._displaced()
        for trial in list(self.schedule.running):
            self.folder.pull(trial)
        self.folder.push()

    # What happens while it runs

    def _look_for_stop(self) -> None:
        """Stop where another process has asked to, with `jackpot stop`; also while no trial ends."""
        with contextlib.suppress(OSError):
            if not self.schedule.stopped and (why := self.folder.stop_requested()):
                self.stop(why)

    def _hear_of(self, trial: str, dead: bool = False) -> None:
        """See what a trial's worker has written; of one that is dead, free what it held."""
        with self._or_stop():
            if dead:
                self.folder.store.free(self.run_id, trial)
            self.folder.pull(trial)

    def ended(self, trial: str, result: Mapping[str, Any]) -> None:
        """A trial has come to its end in its worker."""
        with self._or_stop():
            self._ended(trial, result)

    def _ended(self, trial: str, result: Mapping[str, Any]) -> None:
        # where the store was away, what the worker holds there was not freed either
        self._hear_of(trial, dead=result["status"] == "unwritable")
        self.schedule.ended(trial)
        if result["status"] == "unwritable":
            self._unwritable(result["error"])
        elif result["status"] == "broken":
            self._fail(trial, result["error"], None)
        elif result["status"] in BAD:
            self._count_failure(trial, result.get("failed_stage"))
        if result["status"] not in ("stopped", "unwritable"):
            self._decide(trial)
        self._look_for_stop()

    def stalled(self, running: Iterable[str]) -> list[str]:
        """Those of the trials with a worker that make no progress: the workers are to be ended."""
        minutes = self.spec.failures.stall_minutes
        found = [] if minutes is None else self.progress.stalled(running, 60 * minutes)
        for trial in found:
            self.progress.say(f"{trial}: no progress for {minutes:g} min; its worker process is ended")
            self.progress.started(trial)  # Ray takes a while to end it
        return found

    def died(self, trial: str, host_lost: bool, known: str) -> bool:
        """A trial's worker died, alone or with its host. Whether the trial is started again: its stages and checkpoints
        are kept. Where that has happened more often than it may, the driver writes the result that the worker could
        not."""
        with self._or_stop():
            return self._died(trial, host_lost, known)
        self.schedule.ended(trial)
        return False

    def _died(self, trial: str, host_lost: bool, known: str) -> bool:
        self._hear_of(trial, dead=True)
        result = self.folder.result(trial, self.plan.by_id[trial].chain.key)
        if result and result["status"] in FINAL:  # it died after its trial's end
            self._ended(trial, result)
            return False
        why, again = self._deaths.count(trial, host_lost)
        if again:
            self.progress.say(why)
            return True
        self.schedule.ended(trial)
        self._fail(trial, {"type": "WorkerDied", "message": why, "traceback": known}, self._deaths.broken_off(trial))
        self._decide(trial)
        return False

    def dropped(self, trial: str) -> None:
        """A trial was stopped at a cheap rung, because others are better there: that is its result."""
        with self._or_stop():
            self._hear_of(trial)
            events = self.folder.events(trial)
            last = max((i for i, event in enumerate(events) if "begin" in event), default=0)
            rungs = [event["rung"] for event in events[last:] if "rung" in event]
            self._write(trial, {"status": "dropped", "rungs": rungs})
            self.schedule.ended(trial)
            self._decide(trial)

    # What a search decides as results come in

    def _decide(self, trial: str) -> None:
        """Let the search hear of a trial's end, and start what it decides on."""
        try:
            with self._or_stop():
                self._turns.take(trial)
        except Exception as error:  # raised from here it would end Tune's loop; what has run is kept
            log.exception("the search cannot go on")
            self.stopped = self.stopped or f"the search cannot go on: {type(error).__name__}: {error}"
            self.schedule.stop()

    def _fail(self, trial: str, error: dict[str, str], stage: str | None) -> None:
        self._write(trial, {"status": "failed", "error": error, "failed_stage": stage})
        self._count_failure(trial, stage)

    def _count_failure(self, trial: str, stage: str | None) -> None:
        self.failed += 1
        for planned in self.schedule.block(stage) if stage else []:
            self._write(planned.id, {"status": "blocked", "blocked_by": trial})
            self._turns.hear(planned.id)
        limit = self.spec.failures.max_failed_trials
        if limit is not None and self.failed > limit and self.stopped is None:
            self.stopped = f"{self.failed} trials failed, more than failures.max_failed_trials: {limit}"
            self.schedule.stop()

    def _write(self, trial: str, fields: dict[str, Any]) -> None:
        """Write the result of a trial that no worker will, and tell of its end."""
        planned: Planned = self.plan.by_id[trial]
        begun = [event for event in self.folder.events(trial) if event.get("begin") == planned.chain.key]
        setting = Setting(self.spec, planned.trial.model)
        result = blank_result(setting, planned.trial, planned.chain.key, len(begun))
        result |= {**fields, "ended": time.time()}
        if begun:
            result["started"] = begun[-1]["time"]
        with self._or_stop():
            self._patiently(lambda: write_result(self.folder, result))
            self._patiently(lambda: self.folder.tell(trial, {"end": result["status"]}))
            self.folder.push(trial)

    @contextlib.contextmanager
    def _or_stop(self) -> Iterator[None]:
        """Stop the sweep where its folder cannot be read or written: the error would end Tune's loop."""
        try:
            yield
        except OSError as error:
            self._unwritable(str(error))

    def _patiently(self, write: Callable[[], None]) -> None:
        """Write into the folder, which may be full for a while, as for the workers."""
        patiently(write, over=lambda: self.stopped is not None)

    def _unwritable(self, error: str) -> None:
        """The folder takes no more: going on would only lose work."""
        self.stopped = self.stopped or f"{self.folder.address} cannot be written: {error}; free space or mend it"
        self.schedule.stop()

    def stop(self, why: str) -> None:
        """Ask all to stop; whoever runs keeps a checkpoint."""
        self.stopped, self.interrupted = self.stopped or why, True
        self.schedule.stop()
        with contextlib.suppress(OSError):  # a folder that takes no more: workers find out for themselves
            self.folder.request_stop(why)

    def _displaced(self) -> None:
        """Another driver has taken over: end without a word to its workers, and take one's own along."""
        self.stopped, self.interrupted = "another process has taken this sweep over", True
        self.schedule.stop()
        self.leaving.now()

    def interrupt(self) -> None:
        """Ctrl-C: stop; a command leaves within five seconds whatever happens."""
        self.leaving.soon()
        self.stop("interrupted")
