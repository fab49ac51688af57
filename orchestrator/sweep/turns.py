"""A search's turns while its sweep runs: it hears of each trial's end, and what it then decides on is started."""

from __future__ import annotations

import time
from collections.abc import Callable

from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.plan import Plan
from orchestrator.sweep.progress import Progress
from orchestrator.sweep.ratio_search import RatioSearch
from orchestrator.sweep.schedule import Schedule
from orchestrator.sweep.search_files import write_summary

SUMMARY_SECONDS = 10.0
"""How often the summary of a search that runs is brought up to date."""


class Turns:
    """Those of a search, or of none, which never decides on anything. patiently: how files are written where the
    folder may be full for a while. `begin`, `hear` and `take` may raise OSError for the folder's sake."""

    def __init__(
        self, search: RatioSearch | None, folder: SweepFolder, plan: Plan, schedule: Schedule, progress: Progress,
        patiently: Callable[[Callable[[], None]], None],
    ) -> None:  # fmt: skip
        self._search, self._folder, self._plan = search, folder, plan
        self._schedule, self._progress, self._patiently = schedule, progress, patiently
        self._taken = 0
        self._summarised = 0.0

    @property
    def over(self) -> bool:
        """Whether nothing is left to decide on."""
        return self._search is None or self._search.finished

    def begin(self) -> None:
        """Say that none was taken: what an earlier run has left says nothing."""
        if self._search:
            self._folder.say_turn(0)

    def hear(self, trial: str) -> None:
        """Take note of a trial's end, and decide on nothing yet."""
        if self._search:
            self._search.end(trial)

    def take(self, trial: str) -> None:
        """Take note of a trial's end, start what the search decides on, and let workers that wait know."""
        search = self._search
        if search is None:
            return
        search.end(trial)
        decided = search.advance()
        self._folder.push()
        for planned in decided:
            if planned.id not in self._plan.done:
                self._progress.add(planned)
                self._schedule.add(planned, self._plan.segments(planned))
        if time.monotonic() - self._summarised > SUMMARY_SECONDS:
            self._patiently(lambda: write_summary(search))
            self._summarised = time.monotonic()
        self._taken += 1
        self._patiently(lambda: self._folder.say_turn(self._taken))

    def waits(self) -> int | None:
        """While something is still to be decided on, how many trials have ended; else None."""
        return None if self.over else self._taken
