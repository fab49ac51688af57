"""What surrounds a running trial: whom it tells, when it must stop, and why it ends without a result of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from orchestrator.engine.files import TAKES_NOTHING
from orchestrator.engine.quiet import Quiet
from orchestrator.engine.remote import RemoteError

SIGTERM = "SIGTERM"
"""Why a trial says that it has stopped where its host told it to: a notice that the host is about to be gone."""


class Stopped(Exception):
    """The sweep was asked to stop; what was trained is checkpointed."""


class StageFailed(Exception):
    """A stage raised an error; `__cause__` is that error."""

    def __init__(self, key: str) -> None:
        super().__init__(f"stage {key[:12]} failed")
        self.key = key


class Blocked(Exception):
    """Another trial of this run has failed at a stage that this one needs."""

    def __init__(self, key: str, by: str) -> None:
        super().__init__(f"stage {key[:12]} failed in trial {by}")
        self.key, self.by = key, by


class Busy(Exception):
    """A stage is being made by another trial, and this one does not wait for it now."""


@dataclass
class Watch:
    """What happens around a trial: who it is, whom it tells, when it must stop."""

    trial: str = "trial"
    run: str = "run"
    """Which `jackpot run` this is: failures of an earlier one block nobody."""
    cuts: Mapping[str, list[int]] = field(default_factory=dict)
    """Training run -> steps at which some trial of the sweep needs its weights; kept on the way past."""
    owners: Mapping[str, str] = field(default_factory=dict)
    """Training stage -> the trial whose cost it is: the first in the plan's order to ask for it."""
    stopping: Callable[[], bool] = lambda: False
    tell: Callable[[dict[str, Any]], None] = lambda event: None
    """Told of every epoch trained and of every stage begun."""
    elsewhere: Callable[[str, Sequence[str]], list[dict[str, Any]]] | None = None
    """Measures the latency of a stage's weights in these runtimes on a machine of the sweep's device type,
    where this one is of another."""
    patient: bool = True
    """Whether to wait for a stage that another trial is making; else Busy is raised."""
    waited: float = 0.0
    """Seconds that the trial has waited for stages which other trials were computing."""

    @cached_property
    def quiet(self) -> Quiet:
        """The trial's part in the silence that a latency is measured in; waiting for it ends where the watch stops."""
        return Quiet(self._end_if_stopping)

    def _end_if_stopping(self) -> None:
        if self.stopping():
            raise Stopped


def unwritable(error: BaseException | None) -> OSError | None:
    """The error among the causes of `error` that says that the sweep's folder takes no more: full or read-only.
    No fault of the trial, so no result of it."""
    while error is not None:
        if isinstance(error, RemoteError):
            return error
        if isinstance(error, OSError) and error.errno in TAKES_NOTHING:
            return error
        error = error.__cause__ or error.__context__
    return None
