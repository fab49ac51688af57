"""Networks whose filters can be removed."""

from __future__ import annotations

import torch
from torch import nn


def plain() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU(),
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 10),
    )  # fmt: skip


class Added(nn.Module):
    """Two convolutions whose features are added, a third on their sum."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(1, 3, 3, padding=1)
        self.branch = nn.Conv2d(3, 3, 3, padding=1)
        self.last = nn.Conv2d(3, 5, 3)
        self.fc = nn.Linear(5, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x).relu()
        x = x + self.branch(x)
        return self.fc(self.last(x).relu().mean((2, 3)))


def shapes(weights: dict[str, torch.Tensor], *names: str) -> list[tuple[int, ...]]:
    return [tuple(weights[f"{name}.weight"].shape) for name in names]
