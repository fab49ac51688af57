"""Workers that died: whose fault it was, how often that may happen, and what is left undone."""

from __future__ import annotations

from collections import Counter

from orchestrator.engine.files import patiently
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.watch import SIGTERM

MOST_HOSTS = 10
"""A trial that so many hosts are lost with is taken for what loses them."""


class Deaths:
    """Counts the deaths of each trial's workers in one run of a sweep: those alone may be `most`, those with their host
    MOST_HOSTS."""

    def __init__(self, folder: SweepFolder, run: str, most: int) -> None:
        self._folder, self._run, self._most = folder, run, most
        self._counts: Counter[tuple[str, bool]] = Counter()

    def count(self, trial: str, host_lost: bool) -> tuple[str, bool]:
        """Count a death: what to say of it, and whether the trial is to be started again."""
        host_lost = host_lost or self._told_to_end(trial)
        self._counts[trial, host_lost] += 1
        times = self._counts[trial, host_lost]
        if times <= (MOST_HOSTS if host_lost else self._most):
            return f"{trial}: its {'host was lost' if host_lost else 'worker process died'}; started again", True
        if host_lost:
            return f"{times} hosts were lost while they ran it; see their logs, and `jackpot logs {trial}`", False
        return (
            f"its worker process died {times} times (killed, out of memory, or without progress for "
            f"`failures.stall_minutes`); see `jackpot logs {trial}`, lower `concurrency` or the batch size, or "
            "raise `failures.max_failures`"
        ), False

    def _told_to_end(self, trial: str) -> bool:
        """Whether a trial's worker ended because its host said so."""
        events = self._folder.events(trial)
        return bool(events) and events[-1].get("why") == SIGTERM

    def broken_off(self, trial: str) -> str | None:
        """The stage that a trial was making when its worker died, if nobody makes or has made it since; it is marked as
        failed, for trials that wait in their slots."""
        events = self._folder.events(trial)
        begun = next((event for event in reversed(events) if "begin" in event), None)
        if begun is None or begun["run"] != self._run or events[-1].get("waiting"):
            return None
        store, stage = self._folder.store, events[-1].get("stage")
        if stage is None or store.has(stage):
            return None
        marked = []

        def mark() -> None:
            with store.claim(stage, self._run, trial) as free:
                if free:
                    store.mark_failed(stage, self._run, trial)
                    marked.append(stage)

        patiently(mark)
        return marked[0] if marked else None
