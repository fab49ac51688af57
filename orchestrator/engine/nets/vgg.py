"""VGG-19 with batch norm and a single linear classifier, as in Su et al. 2020."""

from __future__ import annotations

import torch
from torch import nn

from orchestrator.engine.nets.parts import he_initialise

STAGES = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))
"""Channels and number of convolutions of each stage; a max-pool stands between two stages."""


class VGG19(nn.Module):
    """16 convolutions with bias, batch norm and ReLU, four max-pools, the mean over all places, a linear
    classifier. For 10 classes: 20,024,000 prunable weights in 17 layers. Images of 16x16 and more."""

    residual = False

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = in_channels
        for outputs, count in STAGES:
            if layers:
                layers.append(nn.MaxPool2d(2))
            for _ in range(count):
                convolution = nn.Conv2d(inputs, outputs, 3, padding=1)
                layers += [convolution, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]
                inputs = outputs
        self.features = nn.Sequential(*layers)
        self.fc = nn.Linear(inputs, num_classes)
        he_initialise(self, "fan_in")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images (N, C, H, W) -> logits (N, classes)."""
        return self.fc(self.features(x).mean((2, 3)))


def vgg19(num_classes: int, in_channels: int) -> nn.Module:
    """The network above; it has no options."""
    return VGG19(num_classes, in_channels)
