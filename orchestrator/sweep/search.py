"""Ray Tune's view of a schedule: a searcher that hands out the planned trials, and a callback that hears how
they end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import ray
from ray.tune import Callback, Stopper
from ray.tune.search import Searcher

from orchestrator.engine.plan import Planned
from orchestrator.spec.search import Search
from orchestrator.sweep.schedule import Schedule

LOOK_SECONDS = 1.0
"""How often workers that make no progress are looked for."""
HOST_LOST = ("its node has died", "is unavailable")
"""What Ray says of a worker that was lost with its host, or with the way there, and of no other."""


class _NotPickled:
    """Tune pickles all it is given, for a restore that is never made: give it nothing."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class PlannedSearch(_NotPickled, Searcher):
    """Hands Tune the next trial of the schedule. Never None while a trial is left (see Schedule): where a search must
    hear of running trials before it decides on the next, the slot gets a wait that ends when one of them does.

    waits: None, or, while something is still to be decided, which wait it is."""

    def __init__(
        self,
        schedule: Schedule,
        instructions: Callable[[Planned], dict[str, Any]],
        waits: Callable[[], int | None] = lambda: None,
    ) -> None:
        super().__init__()
        self.schedule, self._instructions, self._waits = schedule, instructions, waits

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The config of the next trial."""
        planned = self.schedule.next()
        if planned is None:
            turn = None if self.schedule.stopped else self._waits()
            return Searcher.FINISHED if turn is None else {"wait": turn}
        return {
            "trial": planned.id,
            "key": planned.chain.key,
            "what": planned.trial.to_json(),
            **self._instructions(planned),
        }

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        """Nothing: the callback hears more."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the results on disk are what a sweep resumes from."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


def rung_scheduler(search: Search | None) -> Any:
    """Ray's ASHA over the rungs of a search (Li et al., MLSys 2020), on validation accuracy; None without fidelity."""
    from ray.tune.schedulers import ASHAScheduler

    if search is None or search.fidelity is None:
        return None
    reduction, rungs = search.fidelity.reduction, len(search.fidelity.rungs)
    return ASHAScheduler(
        time_attr="budget",
        metric="rung_accuracy",
        mode="max",
        grace_period=1,
        reduction_factor=reduction,
        max_t=reduction ** (rungs - 1) + 1,
    )


class Endings(_NotPickled, Callback, Stopper):
    """Tells the driver how each trial ended: with what its worker said, with its worker dead (`died`: whether its host
    is lost too, and what Ray knows of it; says whether to start the trial again), or stopped at a rung by the scheduler
    (`dropped`). Tells it of every worker that a trial gets (`started`), of those of which Tune makes no more (`lost`),
    and ends those of trials that have `stalled`. Where the sweep is `stopped` and no trial has a worker, it ends those
    that wait for a machine: none may ever come."""

    def __init__(
        self,
        ended: Callable[[str, dict[str, Any]], None],
        died: Callable[[str, bool, str], bool],
        dropped: Callable[[str], None] = lambda trial: None,
        started: Callable[[str], None] = lambda trial: None,
        stalled: Callable[[Iterable[str]], list[str]] = list,
        lost: Callable[[str], None] = lambda trial: None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._ended, self._died, self._dropped = ended, died, dropped
        self._started, self._stalled, self._lost, self._stopped = started, stalled, lost, stopped
        self._over = False
        self._workers: dict[str, Any] = {}
        self._looked = 0.0

    def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict, **info: Any) -> None:
        """A worker has come to the end of a trial, or to a rung of it, where Tune says `done` if the scheduler stops
        the trial there."""
        if "trial" in trial.config and result["done"] and result["status"] != "rung":
            self._ended(trial.config["trial"], result)

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """A trial is over; one that had more rungs before it was stopped by the scheduler."""
        if "trial" in trial.config and (trial.last_result or {}).get("status") == "rung":
            self._dropped(trial.config["trial"])

    def on_trial_recover(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """A trial's worker died. Tune starts the trial again whatever happens, for its own count knows no causes; one
        that is given up ends at once."""
        if "trial" not in trial.config:
            return
        error = _last_error(trial)
        if not self._died(trial.config["trial"], any(words in error for words in HOST_LOST), error):
            trial.config = {"given_up": True}
            trial.max_failures = 0

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """Tune gives a trial up. Where a worker dies while it is handed the next trial, Tune hears of it twice: it
        recovers the trial, and then gives it up."""
        if "trial" in trial.config:
            self._lost(trial.config["trial"])

    def on_step_end(self, iteration: int, trials: list, **info: Any) -> None:
        """End the workers of trials that make no progress: Tune then hears of their deaths."""
        forget(trials)
        self._over = self._stopped() and not any(trial.temporary_state.ray_actor for trial in trials)
        if time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        workers = {t.config["trial"]: t.temporary_state.ray_actor for t in trials if "trial" in t.config}
        workers = {trial: worker for trial, worker in workers.items() if worker is not None}
        for trial in [trial for trial, worker in workers.items() if self._workers.get(trial) != worker]:
            self._started(trial)
        self._workers = workers
        for trial in self._stalled(workers):
            ray.kill(workers[trial])

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """No trial is stopped by what it tells."""
        return False

    def stop_all(self) -> bool:
        """Whether only trials without a worker are left of a sweep that was stopped."""
        return self._over


def forget(trials: list) -> None:
    """Take the trials that are over out of Tune's own list, and empty them. Tune goes through all of them again and
    again, and keeps some 20 kB of each; nothing here asks for their results. The last one stays: where there is none
    Tune reads them from its snapshot, which is not made."""
    for trial in [trial for trial in trials if trial.is_finished()][:-1]:
        trials.remove(trial)
        metadata = trial.run_metadata
        for held in (metadata.metric_analysis, metadata.metric_n_steps, metadata.last_result, trial.config):
            held.clear()
        trial.evaluated_params = {}


def _last_error(trial: Any) -> str:
    """What Ray knows of the last death of a trial's worker. Tune appends it to a file of this process's own."""
    try:
        return Path(trial.error_file).read_text(encoding="utf-8").rpartition("\nFailure # ")[2]
    except OSError:  # the temporary folder is full
        return ""
