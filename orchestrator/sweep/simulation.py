"""A sweep in made-up time: the trials of a plan through the schedule that drives the real one, given what each stage
takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.engine.plan import Plan, Planned
from orchestrator.engine.status import busy_share
from orchestrator.sweep.schedule import Schedule

RUN = "simulated"


@dataclass(frozen=True)
class Part:
    """A piece of a trial's work. `stage`: the stage that it makes, which no trial makes twice; `goal`: a later stage
    that it is made for, and is not needed where that is there; `alone`: no other trial works meanwhile."""

    stage: str
    seconds: float
    goal: str = ""
    alone: bool = False


@dataclass
class _Slot:
    """A trial at work: its parts that are left, and when the one that it is at ends, or which stage it waits for."""

    trial: str
    parts: list[Part]
    ends: float = 0.0
    waits: str | None = None


@dataclass
class Simulation:
    """How a sweep goes. `parts`: the work of a trial, in order."""

    plan: Plan
    slots: int
    parts: Callable[[Planned], Sequence[Part]]
    has: Callable[[str], bool] = lambda key: False
    seconds: float = 0.0
    """When the last trial ends, counted from the first one's start."""
    events: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    """What each trial would say of itself."""

    def run(self) -> Simulation:
        """Go through the sweep."""
        self._made: set[str] = set()
        self._making: set[str] = set()
        self._at_work: list[_Slot] = []
        self._schedule = Schedule(self.plan, lambda key: key in self._made or self.has(key))
        for _ in range(self.slots):
            self._start(0.0)
        while self._at_work:
            slot = min((slot for slot in self._at_work if slot.waits is None), key=lambda slot: slot.ends)
            self.seconds = slot.ends
            stage = slot.parts.pop(0).stage
            self._made.add(stage)
            self._making.discard(stage)
            for other in [other for other in self._at_work if other.waits == stage]:
                other.waits = None
                self._tell(other.trial, self.seconds)
                self._go_on(other, self.seconds)
            self._go_on(slot, self.seconds)
        return self

    @property
    def busy(self) -> float | None:
        """The share of the slots' time in which trials are at work, as `jackpot status` counts it."""
        return busy_share(list(self.events.values()))[1]

    def _start(self, now: float) -> None:
        """Give a slot its next trial."""
        planned = self._schedule.next()
        if planned is None:
            return
        self._tell(planned.id, now, begin=True, run=RUN, slots=self.slots)
        slot = _Slot(planned.id, list(self.parts(planned)))
        self._at_work.append(slot)
        self._go_on(slot, now)

    def _go_on(self, slot: _Slot, now: float) -> None:
        """Begin a trial's next part that is not there yet; or end the trial, and start the next one."""
        while slot.parts and self._is_there(slot.parts[0]):
            slot.parts.pop(0)
        if not slot.parts:
            self._tell(slot.trial, now, end="done")
            self._at_work.remove(slot)
            self._schedule.ended(slot.trial)
            self._start(now)
            return
        part = slot.parts[0]
        if part.stage in self._making:
            slot.waits = part.stage
            self._tell(slot.trial, now, waiting=True)
            return
        self._making.add(part.stage)
        slot.ends = now + part.seconds
        if part.alone:
            self._pause_others(slot, now, part.seconds)

    def _pause_others(self, slot: _Slot, now: float, seconds: float) -> None:
        for other in self._at_work:
            if other is not slot and other.waits is None:
                other.ends += seconds
                self._tell(other.trial, now, waiting=True)
                self._tell(other.trial, now + seconds)

    def _is_there(self, part: Part) -> bool:
        return any(key in self._made or self.has(key) for key in (part.stage, part.goal) if key)

    def _tell(self, trial: str, now: float, **event: Any) -> None:
        self.events.setdefault(trial, []).append({"time": now, **event})
