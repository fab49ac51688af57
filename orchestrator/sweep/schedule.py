"""Which trial starts next: runnable ones first, the longest chain first."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable

from orchestrator.engine.plan import Plan, Planned


class Schedule:
    """The trials that are left, and which stages are made or in the making. A trial is runnable if the next
    training it needs is not in the making by another; as long as any is left one is handed out, because a slot
    that was refused a trial is lost to Tune (spec/stack_notes.md 4). Tune's thread asks, and Ctrl-C's or a clock's
    may stop it at any moment."""

    def __init__(self, plan: Plan, has: Callable[[str], bool]) -> None:
        self._has = has
        self._segments = {planned.id: list(plan.segments(planned)) for planned in plan.planned}
        self._made: set[str] = set()
        self.waiting: dict[str, Planned] = {p.id: p for p in plan.planned if p.id not in plan.done}
        self.running: dict[str, Planned] = {}
        self.begun: dict[str, None] = {}
        """Every trial that was ever handed out, in turn."""
        self._lock = threading.Lock()
        self.stopped = False
        for trial in self.waiting:
            self._look(trial)

    def add(self, planned: Planned, segments: Iterable[str]) -> None:
        """Take in a trial that was decided on just now, before all that wait. `segments`: the stages that its trainings
        are made of."""
        with self._lock:
            if self.stopped:
                return
            self._segments[planned.id] = list(segments)
            self.waiting = {planned.id: planned, **self.waiting}
            self._look(planned.id)

    def next(self) -> Planned | None:
        """Take the next trial to start, or None where none is left."""
        with self._lock:
            for trial in self.running:
                self._look(trial)
            making = {key for trial in self.running for key in self._segments[trial]} - self._made
            chosen = next((trial for trial in self.waiting if self._runnable(trial, making)), None)
            chosen = chosen or next(iter(self.waiting), None)
            if chosen is None:
                return None
            planned = self.running[chosen] = self.waiting.pop(chosen)
            self.begun[chosen] = None
            return planned

    def _runnable(self, trial: str, making: set[str]) -> bool:
        needed = next((key for key in self._segments[trial] if key not in self._made), None)
        return needed not in making

    def _look(self, trial: str) -> None:
        """See which stages of a trial exist; what exists once is not looked for again."""
        with contextlib.suppress(OSError):  # a store that is away for now: this is about what is best started next
            for key in self._segments[trial]:
                if key not in self._made and self._has(key):
                    self._made.add(key)

    def ended(self, trial: str) -> None:
        """A running trial has ended, well or not."""
        with self._lock:
            if self.running.pop(trial, None) is not None:
                self._look(trial)

    def again(self, trial: str) -> None:
        """A running trial is to be started anew, before all that wait."""
        with self._lock:
            planned = self.running.pop(trial, None)
            if planned is not None and not self.stopped:
                self.waiting = {trial: planned, **self.waiting}

    def block(self, stage: str) -> list[Planned]:
        """Take out the waiting trials whose chain needs a stage that failed for good."""
        with self._lock:
            blocked = [
                planned
                for planned in self.waiting.values()
                if stage in self._segments[planned.id] or any(r.key == stage for r in planned.chain.requests)
            ]
            for planned in blocked:
                del self.waiting[planned.id]
            return blocked

    def stop(self) -> None:
        """Hand out nothing more."""
        with self._lock:
            self.stopped = True
            self.waiting.clear()
