"""CIFAR ResNets of depth 6n+2 (He et al. 2016, section 4.2), with 1x1 projections as in Su et al. 2020."""

from __future__ import annotations

import torch
from torch import nn

from orchestrator.engine.nets.parts import channels, he_initialise


class Block(nn.Module):
    """Two 3x3 convolutions with batch norm, added to the input, which is projected where the shape changes.
    Modules stand in the order conv1, conv2, shortcut: the layer index of a layer-wise ratio follows it."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features (N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
        y = torch.relu_(self.bn1(self.conv1(x)))
        return torch.relu_(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet(nn.Module):
    """A 3x3 stem, three stages of blocks with 16, 32 and 64 channels times `width`, the mean over all places,
    a linear classifier."""

    residual = True

    def __init__(self, depth: int, num_classes: int, in_channels: int, width: float) -> None:
        super().__init__()
        widths = [channels(base, width) for base in (16, 32, 64)]
        self.conv = nn.Conv2d(in_channels, widths[0], 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(widths[0])
        blocks = (depth - 2) // 6
        self.stage1 = _stage(widths[0], widths[0], 1, blocks)
        self.stage2 = _stage(widths[0], widths[1], 2, blocks)
        self.stage3 = _stage(widths[1], widths[2], 2, blocks)
        self.fc = nn.Linear(widths[2], num_classes)
        he_initialise(self, "fan_out")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images (N, C, H, W) -> logits (N, classes)."""
        x = torch.relu_(self.bn(self.conv(x)))
        x = self.stage3(self.stage2(self.stage1(x)))
        return self.fc(x.mean((2, 3)))


def _stage(inputs: int, outputs: int, stride: int, blocks: int) -> nn.Sequential:
    rest = (Block(outputs, outputs, 1) for _ in range(blocks - 1))
    return nn.Sequential(Block(inputs, outputs, stride), *rest)


def resnet8(num_classes: int, in_channels: int, *, width: float = 1.0) -> nn.Module:
    """One block a stage."""
    return ResNet(8, num_classes, in_channels, width)


def resnet20(num_classes: int, in_channels: int, *, width: float = 1.0) -> nn.Module:
    """Three blocks a stage."""
    return ResNet(20, num_classes, in_channels, width)


def resnet32(num_classes: int, in_channels: int, *, width: float = 1.0) -> nn.Module:
    """Five blocks a stage. Su et al. use width 2: 1,855,584 prunable weights for 10 classes."""
    return ResNet(32, num_classes, in_channels, width)


def resnet56(num_classes: int, in_channels: int, *, width: float = 1.0) -> nn.Module:
    """Nine blocks a stage."""
    return ResNet(56, num_classes, in_channels, width)
