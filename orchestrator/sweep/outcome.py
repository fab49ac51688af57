"""What a run of a sweep leaves: which results stand, how it ended, and how to go on."""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.plan import Plan
from orchestrator.engine.results import FINAL

JOB = "JACKPOT_JOB"
"""The environment variable that says which job of a cluster a process belongs to."""


@dataclass
class Outcome:
    """How a run ended."""

    folder: Path
    plan: Plan = field(repr=False)
    statuses: dict[str, str] = field(default_factory=dict)
    """Planned trial -> status of its result, "missing" where there is none."""
    stopped: str | None = None
    """Why the run ended early, if it did."""
    interrupted: bool = False
    """Whether that was on request, rather than for too many failures."""
    undecided: int = 0
    """Trials that a search has still to decide on."""
    tracking: str | None = None
    """What to do about tracking that lags behind, if it does."""

    @property
    def exit_code(self) -> int:
        """0 if every planned trial has a result that stands, 130 if stopped on request, else 1."""
        if not self.undecided and all(status in FINAL for status in self.statuses.values()):
            return 0
        return 130 if self.interrupted else 1


def finished(folder: SweepFolder, plan: Plan) -> dict[str, str]:
    """The planned trials whose result on disk is valid, with its status."""
    results = {planned.id: folder.result(planned.id, planned.chain.key) for planned in plan.planned}
    return {trial: result["status"] for trial, result in results.items() if result is not None}


def resumed(folder: SweepFolder, plan: Plan) -> Plan:
    """The plan, knowing which of its trials have a result that stands."""
    done = [trial for trial, status in finished(folder, plan).items() if status in FINAL]
    return plan.given(done, folder.store.knows)


def resume_hint(folder: SweepFolder) -> str:
    """How to go on with a sweep that was stopped."""
    if JOB in os.environ:
        return "everything finished is kept. To go on: submit it again"
    again = shlex.join(["jackpot", "run", str(folder.path / "spec.yaml"), "--out", folder.address])
    return f"everything finished is kept. To go on: {again}"
