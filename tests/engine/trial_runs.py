"""Trials of a plan, run one after another in this process."""

from __future__ import annotations

from typing import Any

from orchestrator.engine.files import write_sealed
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.plan import Plan, Planned, make_plan
from orchestrator.engine.setting import Setting
from orchestrator.engine.trial import run_trial
from orchestrator.engine.watch import Watch
from orchestrator.spec.models import Spec

Result = dict[str, Any]


def run(folder: SweepFolder, plan: Plan, planned: Planned, spec: Spec, **watch: Any) -> Result:
    setting = Setting(spec, planned.trial.model)
    around = Watch(trial=planned.id, **{**plan.instructions(planned), **watch})
    return run_trial(folder, setting, planned.trial, planned.chain.key, around)


def run_all(folder: SweepFolder, spec: Spec, **watch: Any) -> dict[str, Result]:
    plan = make_plan(spec)
    write_sealed(folder.path / "plan.json", plan.summary(lambda key: False) | {"run": "run"})
    return {planned.id: run(folder, plan, planned, spec, **watch) for planned in plan.planned}


def only(found: dict[str, Result]) -> Result:
    (result,) = found.values()
    return result


def plugin_that(body: str) -> str:
    """A method whose masks are what a line of code gives."""
    return f"""
        def masks(bench):
            {body}

        class Plugin(Method):
            def find(self, bench):
                return Ticket(bench.initialise(), bench.compute(masks))
    """
