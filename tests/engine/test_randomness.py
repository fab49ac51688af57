"""Networks that draw from whatever generator they like: the same numbers each time, and nothing of the caller's."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from trial_runs import only, run_all

from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.nets import build
from orchestrator.spec.models import Model, Spec

RESTLESS = """
import random
import numpy as np
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.fc = nn.Linear(64, num_classes)
        self.scale = random.random() + np.random.rand()

    def forward(self, x):
        noise = random.random() + np.random.rand() + torch.rand(1).item()
        return self.fc(x.flatten(1)) * self.scale * (1 + 0.1 * noise)
"""


@pytest.fixture
def restless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Model:
    """A network that draws from Python's, numpy's and torch's generators when it is made and when it is used."""
    (tmp_path / "restlessnet.py").write_text(RESTLESS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "restlessnet", raising=False)
    return Model(name="restlessnet:Net")


def test_a_trial_gives_the_same_numbers_whatever_was_drawn_before(
    restless: Model, make_spec: Callable[..., Spec], tmp_path: Path
) -> None:
    found = []
    for number in range(2):
        for draw in (random.seed, np.random.seed, torch.manual_seed):
            draw(number)
        spec = make_spec(model={"name": restless.name}, methods=["snip"])
        found.append(only(run_all(SweepFolder(tmp_path / str(number)), spec)))
    first, second = (
        [result["status"], *(result["metrics"][name] for name in ("loss/test", "loss/val", "accuracy/test"))]
        + [epoch["loss/train"] for epoch in result["history"]]
        for result in found
    )
    assert first[0] == "done"
    assert first == second


def test_making_a_network_leaves_the_callers_generators_alone(restless: Model) -> None:
    def draws() -> list[float]:
        return [random.random(), np.random.rand(), torch.rand(1).item()]

    def expected() -> list[float]:
        random.seed(5), np.random.seed(5), torch.manual_seed(5)
        return draws()

    untouched = expected()
    random.seed(5), np.random.seed(5), torch.manual_seed(5)
    made = [build(restless, 10, (1, 8, 8), seed) for seed in (1, 1, 2)]
    assert draws() == untouched
    assert made[0].scale == made[1].scale != made[2].scale
    assert torch.equal(made[0].fc.weight, made[1].fc.weight)
