"""VGG-11, 16 and 19 with batch norm and a single linear classifier, the CIFAR family of Su et al. 2020."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from orchestrator.engine.nets.parts import he_initialise

CHANNELS = (64, 128, 256, 512, 512)
"""Channels of each stage; a max-pool stands between two stages."""


class VGG(nn.Module):
    """3x3 convolutions with bias, batch norm and ReLU, as many a stage as `counts` says, four max-pools, the mean
    over all places, a linear classifier. Images of 16x16 and more."""

    residual = False

    def __init__(self, counts: Sequence[int], num_classes: int, in_channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = in_channels
        for outputs, count in zip(CHANNELS, counts, strict=True):
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


def vgg11(num_classes: int, in_channels: int) -> nn.Module:
    """8 convolutions; no options. For 10 classes on colour images: 9,222,848 prunable weights in 9 layers."""
    return VGG((1, 1, 2, 2, 2), num_classes, in_channels)


def vgg16(num_classes: int, in_channels: int) -> nn.Module:
    """13 convolutions; no options. For 10 classes on colour images: 14,715,584 prunable weights in 14 layers."""
    return VGG((2, 2, 3, 3, 3), num_classes, in_channels)


def vgg19(num_classes: int, in_channels: int) -> nn.Module:
    """16 convolutions; no options. For 10 classes on colour images: 20,024,000 prunable weights in 17 layers."""
    return VGG((2, 2, 4, 4, 4), num_classes, in_channels)
