"""Ray Tune's view of a schedule: a searcher that hands out the planned trials, and a callback that hears how
they end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray.tune import Callback
from ray.tune.search import Searcher

from orchestrator.engine.plan import Planned
from orchestrator.sweep.schedule import Schedule


class _NotPickled:
    """Tune pickles all it is given, for a restore that is never made: give it nothing."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class PlannedSearch(_NotPickled, Searcher):
    """Hands Tune the next trial of the schedule. Never None while a trial is left (see Schedule)."""

    def __init__(self, schedule: Schedule, instructions: Callable[[Planned], dict[str, Any]]) -> None:
        super().__init__()
        self.schedule, self._instructions = schedule, instructions

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """The config of the next trial."""
        planned = self.schedule.next()
        if planned is None:
            return Searcher.FINISHED
        return {"trial": planned.id, "key": planned.chain.key, **self._instructions(planned)}

    def on_trial_complete(self, trial_id: str, result: dict | None = None, error: bool = False) -> None:
        """Nothing: the callback hears more."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the results on disk are what a sweep resumes from."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


class Endings(_NotPickled, Callback):
    """Tells the driver how each trial ended: with what its worker said, or with its worker dead, to be started
    again (`again`) or for good (`died`, with how often, and what Ray knows of it)."""

    def __init__(
        self,
        ended: Callable[[str, dict[str, Any]], None],
        again: Callable[[str], None],
        died: Callable[[str, int, str], None],
    ) -> None:
        self._ended, self._again, self._died = ended, again, died

    def on_trial_result(self, iteration: int, trials: list, trial: Any, result: dict, **info: Any) -> None:
        """A worker has come to the end of a trial."""
        self._ended(trial.config["trial"], result)

    def on_trial_recover(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """A trial's worker died, and the trial is started again."""
        self._again(trial.config["trial"])

    def on_trial_error(self, iteration: int, trials: list, trial: Any, **info: Any) -> None:
        """A trial's worker died more often than allowed."""
        self._died(trial.config["trial"], trial.num_failures, str(trial.get_error() or ""))
