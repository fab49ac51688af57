"""A net and data so small that a whole training is 12 steps, with all that a resume can lose."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn

from orchestrator.engine.evaluating import Batch
from orchestrator.engine.train import Trainer
from orchestrator.spec.models import Recipe

IMAGES, CLASSES, BATCH = 22, 3, 8  # 3 steps an epoch, the last of 6 images
SGD: dict[str, Any] = {"optimiser": "sgd", "momentum": 0.9, "nesterov": True}
ADAM: dict[str, Any] = {"optimiser": "adam", "lr": 0.01}
BF16: dict[str, Any] = {**SGD, "precision": "bfloat16"}


class Noise:
    """22 random images with a fresh draw of noise a step, as augmentation would draw."""

    def __init__(self) -> None:
        source = torch.Generator().manual_seed(1)
        self.images = torch.randn(IMAGES, 3, 6, 6, generator=source).to(memory_format=torch.channels_last)
        self.labels = torch.randint(CLASSES, (IMAGES,), generator=source)

    def order(self, generator: torch.Generator) -> torch.Tensor:
        return torch.randperm(IMAGES, generator=generator)

    def train(self, indices: torch.Tensor, generator: torch.Generator) -> Batch:
        images = self.images[indices]
        return images + 0.1 * torch.randn(images.shape, generator=generator), self.labels[indices]

    def training(self, plan: Iterable[tuple[torch.Tensor, torch.Generator]]) -> Iterator[Batch]:
        return (self.train(*each) for each in plan)

    def evaluation(self, split: str) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        yield self.images[:10], self.labels[:10]
        yield self.images[10:15], self.labels[10:15]


class Net(nn.Module):
    """All that a resume can lose: batch norm's buffers, dropout's draws, 1x1 and depthwise layers, and a
    parameter that takes no part."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1)
        self.bn = nn.BatchNorm2d(8)
        self.depthwise = nn.Conv2d(8, 8, 3, groups=8)
        self.point = nn.Conv2d(8, 4, 1, bias=False)
        self.dropout = nn.Dropout(0.3)
        self.fc = nn.Linear(4, CLASSES)
        self.idle = nn.Parameter(torch.ones(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.bn(self.conv1(x)))
        return self.fc(self.dropout(torch.relu(self.point(self.depthwise(x))).mean((2, 3))))


def make_recipe(**changes: Any) -> Recipe:
    return Recipe.model_validate(
        {"epochs": 4, "batch": BATCH, "lr": 0.05, "weight_decay": 0.01, "label_smoothing": 0.1, **changes}
    )


def make_net(memory_format: torch.memory_format = torch.channels_last) -> nn.Module:
    torch.manual_seed(7)
    return Net().to(memory_format=memory_format)


def make_masks(net: nn.Module) -> dict[str, torch.Tensor]:
    source = torch.Generator().manual_seed(3)
    named = dict(net.named_parameters())
    return {
        name: torch.rand(named[name].shape, generator=source) < 0.4
        for name in ("conv1.weight", "depthwise.weight", "point.weight", "fc.weight")
    }


def make_trainer(
    recipe: Recipe, start: int = 0, seed: int = 5, memory_format: torch.memory_format = torch.channels_last
) -> Trainer:
    net = make_net(memory_format)
    return Trainer(net, Noise(), IMAGES, recipe, seed, start, make_masks(net))
