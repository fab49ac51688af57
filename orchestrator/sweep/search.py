"""Ray Tune's view of a schedule: a searcher that hands out the planned trials, and a callback that hears how
they end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray.tune import Callback
from ray.tune.search import Searcher

from orchestrator.engine.plan import Planned
from orchestrator.spec.search import Search
from orchestrator.sweep.schedule import Schedule


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


class Endings(_NotPickled, Callback):
    """Tells the driver how each trial ended: with what its worker said, or with its worker dead, to be started
    again (`again`) or for good (`died`, with how often, and what Ray knows of it), or stopped at a rung by the
    scheduler (`dropped`)."""

    def __init__(
        self,
        ended: Callable[[str, dict[str, Any]], None],
        again: Callable[[str], None],
        died: Callable[[str, int, str], None],
        dropped: Callable[[str], None] = lambda trial: None,
    ) -> None:
        self._ended, self._again, self._died, self._dropped = ended, again, died, dropped

    def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict, **info: Any) -> None:
        """A worker has come to the end of a trial, or to a rung of it."""
        if "trial" in trial.config and result["done"]:
            self._ended(trial.config["trial"], result)

    def on_trial_complete(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """A trial is over; one that had more rungs before it was stopped by the scheduler."""
        if "trial" in trial.config and (trial.last_result or {}).get("status") == "rung":
            self._dropped(trial.config["trial"])

    def on_trial_recover(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """A trial's worker died, and the trial is started again."""
        if "trial" in trial.config:
            self._again(trial.config["trial"])

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """A trial's worker died more often than allowed."""
        if "trial" in trial.config:
            self._died(trial.config["trial"], trial.num_failures, str(trial.get_error() or ""))
