"""MobileNetV2 for small images (Sandler et al., CVPR 2018, with the stem and strides that CIFAR networks use)."""

from __future__ import annotations

import torch
from torch import nn

from orchestrator.engine.nets.parts import channels, he_initialise

STAGES = ((16, 1, 1, 1), (24, 2, 2, 6), (32, 3, 2, 6), (64, 4, 2, 6), (96, 3, 1, 6), (160, 3, 1, 6), (320, 1, 1, 6))
"""Channels, number of blocks, stride of the first one and expansion of each stage."""


class InvertedBlock(nn.Module):
    """1x1 expansion, 3x3 depthwise convolution, 1x1 projection, each with batch norm; added to the input where the
    shape stays."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = _convolution(inputs, inner, 1)
        self.depthwise = _convolution(inner, inner, 3, stride=stride, padding=1, groups=inner)
        self.project = nn.Sequential(nn.Conv2d(inner, outputs, 1), nn.BatchNorm2d(outputs))
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features (N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
        y = self.project(self.depthwise(self.expand(x)))
        return y + x if self.adds else y


class MobileNetV2(nn.Module):
    """A 1x1 stem that pads the image by a pixel, seven stages of inverted blocks, a 1x1 convolution, the mean over
    all places, a linear classifier. All convolutions have a bias. Strides 1, 2, 2, 2, 1, 1, 1: images of any size."""

    residual = True

    def __init__(self, num_classes: int, in_channels: int, width: float) -> None:
        super().__init__()
        inputs, last = channels(32, width), channels(1280, width)
        self.stem = _convolution(in_channels, inputs, 1, padding=1)
        blocks = []
        for base, count, stride, expansion in STAGES:
            for i in range(count):
                outputs = channels(base, width)
                blocks.append(InvertedBlock(inputs, outputs, stride if i == 0 else 1, expansion))
                inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = _convolution(inputs, last, 1)
        self.fc = nn.Linear(last, num_classes)
        he_initialise(self, "fan_out")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images (N, C, H, W) -> logits (N, classes)."""
        return self.fc(self.head(self.blocks(self.stem(x))).mean((2, 3)))


def _convolution(
    inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0, groups: int = 1
) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU6(inplace=True))


def mobilenet_v2_cifar(num_classes: int, in_channels: int, *, width: float = 1.0) -> nn.Module:
    """Channels 32, 16, 24, 32, 64, 96, 160, 320, 1280 times `width`. For 10 classes on colour images: 2,202,816
    prunable weights at width 1."""
    return MobileNetV2(num_classes, in_channels, width)
