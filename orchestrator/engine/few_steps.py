"""Trainings and evaluations that are timed over their first steps and batches, and then pass for whole."""

from __future__ import annotations

import contextlib
import itertools
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from orchestrator.engine.evaluating import Batch, evaluate
from orchestrator.engine.train import Trainer, learning_rate

WARM, LEAST = 3, 5
"""Steps of a training that are not timed, because the first ones are slow; and that are timed, at least."""
SECONDS, LONGEST = 1.0, 8.0
"""How long a training is timed; and at most, however few its steps are then."""
EVALUATION_SECONDS = 0.3
"""How long an evaluation of each split is timed."""


@dataclass
class Timings:
    """What was timed, in seconds."""

    steps: dict[str, float] = field(default_factory=dict)
    """A step of each kind of training."""
    evaluations: dict[str, tuple[float, float]] = field(default_factory=dict)
    """Validation and test of each structure."""
    spent: float = 0.0
    """On timing: no stage takes it."""


class FewSteps(Trainer):
    """A training of which a few steps are made, timed if none of its kind was, and that then passes for whole.
    `named`: its kind."""

    def __init__(self, timings: Timings, named: str, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._timings, self._named = timings, named

    def run(self, until: int, *, on_step: Callable[[], None] = lambda: None, **told: Any) -> None:
        """Make some steps, and stand at `until`."""
        began = time.perf_counter()
        marks = self._make_steps(1 if self._named in self._timings.steps else None, on_step, told)
        self._timings.steps.setdefault(self._named, mean_step(marks))
        self._timings.spent += time.perf_counter() - began
        self.progress.step = until

    def _make_steps(self, most: int | None, on_step: Callable[[], None], told: dict[str, Any]) -> list[float]:
        """Make steps, and say when each of them began."""
        marks: list[float] = []

        def mark() -> None:
            on_step()
            if self.compiled and not self.compiled.seconds:
                return  # the step that compiles is no measure of others
            marks.append(time.perf_counter())
            if len(marks) - 1 == most or (most is None and enough(marks)):
                raise _Enough

        with contextlib.suppress(_Enough):
            super().run(sys.maxsize, on_step=mark, **told)
        return marks

    def _end_epoch(self, epoch: int) -> None:
        # validation is timed by itself
        self.progress.history = [{"epoch": epoch, "lr": learning_rate(self.recipe, 0, self.per_epoch)}]
        self.progress.loss_sum, self.progress.images = 0.0, 0


class _Enough(Exception):
    """Steps enough were made."""


def enough(marks: Sequence[float]) -> bool:
    """Whether a training has been timed for long enough, given when its steps began."""
    spent = marks[-1] - marks[0]
    return (len(marks) > WARM + LEAST and spent > SECONDS) or (len(marks) > 2 and spent > LONGEST)


def mean_step(marks: Sequence[float]) -> float:
    """Seconds of a step, given when steps began, the first ones left out where there are others. The mean: what comes
    with every epoch is part of it."""
    steps = [after - before for before, after in itertools.pairwise(marks)]
    return statistics.fmean(steps[WARM:] or steps[-1:])


class _First:
    """The first batches of a split."""

    def __init__(self, data: Any, seconds: float) -> None:
        self._data, self._seconds, self.images = data, seconds, 0

    def evaluation(self, split: str) -> Iterator[Batch]:
        began = time.perf_counter()
        for images, labels in self._data.evaluation(split):
            self.images += len(labels)
            yield images, labels
            if time.perf_counter() - began > self._seconds:
                return


def evaluation_seconds(net: nn.Module, data: Any, split: str) -> float:
    """Seconds of evaluating a network on a whole split, from the time of its first batches."""
    evaluate(net, _First(data, 0.0), split)
    first = _First(data, EVALUATION_SECONDS)
    began = time.perf_counter()
    evaluate(net, first, split)
    seconds = time.perf_counter() - began
    return seconds * len(getattr(data.data, split).labels) / first.images if first.images else 0.0
