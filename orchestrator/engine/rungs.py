"""The rungs of a search's fidelity, on a worker: a ticket's validation accuracy on its way through training."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from methods.rungs import validation_accuracy
from methods.step import Step
from orchestrator.engine.bench import TrialBench
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.plan import plan_trial
from orchestrator.engine.setting import Setting
from orchestrator.engine.trial import device_for
from orchestrator.engine.trials import Trial
from orchestrator.engine.watch import Watch


def measure_rung(sweep: SweepFolder, setting: Setting, trial: Trial, watch: Watch, until: Step) -> dict[str, Any]:
    """Validation accuracy of a trial's ticket trained until a step of its schedule, counted from where it starts; at 0
    after masking, with batch norm's averages measured anew. Every step of it is a stage: what follows trains on from
    there. Returns {"epochs", "accuracy"}; raises what training raises."""
    bench = TrialBench(setting, trial.method_class, trial.seed, trial.sparsity, sweep.store, device_for(setting), watch)
    ticket = trial.method.find(bench)
    steps = bench.iterations(until)
    weights = ticket.weights
    if steps:
        weights = bench.train(weights, ticket.masks, until=Step(Decimal(weights.step + steps), "it"))
    stage = bench.compute(validation_accuracy, weights, ticket.masks, recalibrate=not steps)
    epochs = steps / setting.per_epoch
    return {"epochs": epochs, "accuracy": float(bench.value(stage.key)["accuracy"])}


def rung_cuts(watch: Watch, setting: Setting, trial: Trial, rungs: tuple[Step, ...]) -> dict[str, list[int]]:
    """The watch's cuts and, of the ticket's own training, the steps at the rungs: so that it is not trained twice."""
    chain = plan_trial(setting, trial).chain
    own = chain.trainings[-1]
    steps = {own.start + rung.iterations(setting.per_epoch) for rung in rungs} - {own.start}
    inside = {step for step in steps if step < own.until}
    return {**watch.cuts, own.run: sorted({*watch.cuts.get(own.run, []), *inside})}
