"""Small networks, one for each thing that a method may stumble over. For images of 8x8."""

from __future__ import annotations

import torch
from torch import nn


class Plain(nn.Sequential):
    """Layers one after another; says so, as methods may ask."""

    residual = False


def plain(num_classes: int, in_channels: int) -> nn.Module:
    """Convolutions with bias and batch norm, a linear classifier."""
    return Plain(
        nn.Conv2d(in_channels, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 12, 3), nn.BatchNorm2d(12), nn.ReLU(), nn.Flatten(), nn.Linear(48, num_classes),
    )  # fmt: skip


def linears(num_classes: int, in_channels: int) -> nn.Module:
    """Linear maps alone, with dropout between."""
    return Plain(
        nn.Flatten(), nn.Linear(64 * in_channels, 24), nn.ReLU(), nn.Dropout(0.2),
        nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, num_classes),
    )  # fmt: skip


def depthwise(num_classes: int, in_channels: int) -> nn.Module:
    """Each output channel sees one input channel, then 1x1 mixes them."""
    return Plain(
        nn.Conv2d(in_channels, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3, groups=8), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 1, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, num_classes),
    )  # fmt: skip


def grouped(num_classes: int, in_channels: int) -> nn.Module:
    """Groups of channels, and no linear map at all."""
    return Plain(
        nn.Conv2d(in_channels, 8, 3), nn.ReLU(), nn.Conv2d(8, 12, 3, groups=4), nn.ReLU(),
        nn.Conv2d(12, num_classes, 4), nn.Flatten(),
    )  # fmt: skip


class _Shared(nn.Module):
    """One module that runs twice, and one weight under two names."""

    residual = False

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, 6, 3, padding=1)
        self.twice = nn.Conv2d(6, 6, 3, padding=1)
        self.left = nn.Linear(6, 6)
        self.right = nn.Linear(6, 6)
        self.right.weight = self.left.weight
        self.fc = nn.Linear(6, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.twice(torch.relu(self.twice(torch.relu(self.first(x))))))
        x = torch.relu(self.left(x.mean((2, 3))))
        return self.fc(torch.relu(self.right(x)))


def shared(num_classes: int, in_channels: int) -> nn.Module:
    """See _Shared."""
    return _Shared(num_classes, in_channels)
