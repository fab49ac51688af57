"""A running trial's bench, and what tests of it compare and stop."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import torch

from methods import registry
from orchestrator.engine.bench import TrialBench
from orchestrator.engine.setting import Setting
from orchestrator.engine.store import Store
from orchestrator.engine.train import weights_of
from orchestrator.engine.watch import Watch
from orchestrator.spec.models import Spec

CPU = torch.device("cpu")


def trial_bench(
    spec: Spec, folder: Path, watch: Watch | None = None, method: str = "random", sparsity: str = "0.9", seed: int = 0
) -> TrialBench:
    setting = Setting(spec, spec.model[0])
    return TrialBench(setting, registry.get(method), seed, Decimal(sparsity), Store(folder), CPU, watch)


def dense(bench: TrialBench) -> dict[str, torch.Tensor]:
    return weights_of(bench.value(bench.train(bench.initialise()).key))


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[name], right[name]) for name in left)


class StopAfter:
    """Asks to stop after so many looks."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    def __call__(self) -> bool:
        self.looks -= 1
        return self.looks < 0
