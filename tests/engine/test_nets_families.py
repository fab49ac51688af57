"""Families of torchvision's networks that can be pruned stay so: `benchmarks/families.py` on each."""

from __future__ import annotations

import families
import pytest
from torch import nn


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in families.FAMILIES if name != "vgg11_bn"])  # as vgg11, and as long
def test_ratios_and_masked_steps_hold(name: str) -> None:
    row = families.examine(name, families.FAMILIES[name])
    assert row.fault == ""
    assert row.layers > 1
    assert row.weights > 100_000


class Masked(nn.Module):
    """A network whose first layer never learns, or whose second layer undoes its mask."""

    residual = False

    def __init__(self, num_classes: int, regrows: bool) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(192, 20), nn.Linear(20, num_classes)
        self.regrows = regrows

    def forward(self, x):  # type: ignore[no-untyped-def]
        if self.regrows:
            self.last.weight.data.add_(1)
            return self.last(self.first(x.flatten(1)))
        return self.last(self.first(x.flatten(1)).detach())


def still(num_classes: int) -> nn.Module:
    return Masked(num_classes, regrows=False)


def regrows(num_classes: int) -> nn.Module:
    return Masked(num_classes, regrows=True)


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("still", "1 layers did not change, the first first.weight"),
        ("regrows", "removed weights of last.weight are not zero after a step"),
        ("missing", "jackpot ratios --ratio smart: --model:"),
    ],
)
def test_a_network_that_cannot_be_pruned_is_found(name: str, fault: str) -> None:
    assert families.examine(f"{__name__}:{name}", 8).fault.startswith(fault)
