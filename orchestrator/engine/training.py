"""A stage of training: continued from its checkpoint if there is one, watched, checkpointed, and recorded."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import Any

from methods.bench import Tensors
from orchestrator.engine.request import Request
from orchestrator.engine.setting import Setting
from orchestrator.engine.store import Store
from orchestrator.engine.train import Diverged, Trainer, progress_of, weights_of
from orchestrator.engine.watch import Stopped, Watch

log = logging.getLogger(__name__)

CHECKPOINT_SECONDS = 30.0
"""A training is checkpointed this often; what a kill loses is at most that, and results do not depend on it."""


def train_stage(
    trainer: Trainer, request: Request, setting: Setting, store: Store, watch: Watch
) -> tuple[Tensors, dict[str, Any]]:
    """Train from where the trainer stands, or from the stage's checkpoint, to the stage's end.

    Returns the stage's tensors (none if training diverged; weights at the end of the schedule, else the trainer's
    whole state) and its record. Raises Stopped where the watch says so, with a checkpoint kept."""
    first = trainer.progress.step
    checkpoint = store.load_checkpoint(request.key)
    # never back: a sweep that was extended since may have a cut beyond the checkpoint
    if checkpoint is not None and progress_of(checkpoint).step > first:
        trainer.restore(checkpoint)
        log.info("continuing stage %s at step %d", request.key[:12], trainer.progress.step)
    diverged = {}
    try:
        _run(trainer, request, setting, store, watch)
    except Diverged as reason:
        diverged = {"diverged": str(reason), "at": trainer.progress.step}
    whole = request.until == setting.total_steps
    progress, state = trainer.progress, {} if diverged else trainer.state()
    tensors = weights_of(state) | trainer.masking.state() if state and whole else state
    return tensors, {
        "steps": progress.step - first,
        "seconds": progress.seconds,
        "macs": progress.macs,
        "history": progress.history,
        **({"compile_seconds": trainer.compiled.seconds} if trainer.compiled else {}),
        **diverged,
    }


def _run(trainer: Trainer, request: Request, setting: Setting, store: Store, watch: Watch) -> None:
    """Train to the end of the stage, telling the watch of every epoch and keeping checkpoints."""
    progress = trainer.progress
    told, began, saved = progress.step, time.monotonic(), time.monotonic()
    spent, quiet = progress.seconds, watch.quiet
    paused = quiet.paused

    def seconds() -> float:
        return spent + time.monotonic() - began - (quiet.paused - paused)

    def tell(record: Mapping[str, Any]) -> None:
        nonlocal told
        watch.tell(
            {
                "stage": request.key,
                "kind": "train",
                "step": progress.step,
                "until": request.until,
                "steps": progress.step - told,
                "per_epoch": setting.per_epoch,
                **record,
            }
        )
        told = progress.step

    def end_epoch(record: dict[str, float]) -> None:
        shown = ", ".join(f"{name} {value:.4g}" for name, value in record.items() if name not in ("epoch", "time"))
        log.info("epoch %d of %d: %s", record["epoch"], setting.spec.recipe.epochs, shown)
        tell(record)

    def checkpoint() -> None:
        nonlocal saved
        progress.seconds = seconds()
        store.save_checkpoint(request.key, progress.step, trainer.state())
        tell({"checkpoint": True})
        saved = time.monotonic()

    def on_step() -> None:
        try:
            if quiet.wanted():
                tell({"waiting": "a latency being measured on this machine"})
                quiet.pause()
                tell({})
            if watch.stopping():
                raise Stopped
        except Stopped:
            checkpoint()
            raise

    try:
        with quiet.working():
            trainer.run(
                request.until,
                on_epoch=end_epoch,
                checkpoint=checkpoint,
                due=lambda: time.monotonic() - saved > CHECKPOINT_SECONDS,
                on_step=on_step,
            )
    finally:
        progress.seconds = seconds()
        if progress.step > told:
            tell({})
