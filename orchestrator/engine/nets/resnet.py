"""CIFAR ResNets: of depth 6n+2 (He et al. 2016, section 4.2) with 1x1 projections as in Su et al. 2020, and
ResNet-18 and ResNet-50 with a 3x3 stem instead of the 7x7 stem and max-pool that ImageNet's have."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from orchestrator.engine.nets.parts import channels, he_initialise


class Block(nn.Module):
    """Two 3x3 convolutions with batch norm, added to the input, which is projected where the shape changes.
    Modules stand in the order conv1, conv2, shortcut: the layer index of a layer-wise ratio follows it."""

    expansion = 1

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut = _shortcut(inputs, outputs, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features (N, inputs, H, W) -> (N, outputs, H / stride, W / stride)."""
        y = torch.relu_(self.bn1(self.conv1(x)))
        return torch.relu_(self.bn2(self.conv2(y)) + self.shortcut(x))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions with batch norm, the last to four times as many channels, added to the input,
    which is projected where the shape changes. The 3x3 convolution has the stride."""

    expansion = 4

    def __init__(self, inputs: int, inner: int, stride: int) -> None:
        super().__init__()
        outputs = inner * self.expansion
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.shortcut = _shortcut(inputs, outputs, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features (N, inputs, H, W) -> (N, 4 inner, H / stride, W / stride)."""
        y = torch.relu_(self.bn1(self.conv1(x)))
        y = torch.relu_(self.bn2(self.conv2(y)))
        return torch.relu_(self.bn3(self.conv3(y)) + self.shortcut(x))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    if stride == 1 and inputs == outputs:
        return nn.Sequential()
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))


class ResNet(nn.Module):
    """A 3x3 stem, stages `stage1`, `stage2`, ... of as many blocks as `counts` says, each but the first beginning
    with stride 2, the mean over all places, a linear classifier. `bases`: channels of each stage at width 1."""

    residual = True

    def __init__(
        self,
        block: type[Block] | type[Bottleneck],
        counts: Sequence[int],
        bases: Sequence[int],
        num_classes: int,
        in_channels: int,
        width: float,
    ) -> None:
        super().__init__()
        widths = [channels(base, width) for base in bases]
        inputs = widths[0]
        self.conv = nn.Conv2d(in_channels, inputs, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(inputs)
        self.stages = [f"stage{i + 1}" for i in range(len(counts))]
        for i, (name, count) in enumerate(zip(self.stages, counts, strict=True)):
            blocks = []
            for j in range(count):
                blocks.append(block(inputs, widths[i], 2 if i and not j else 1))
                inputs = widths[i] * block.expansion
            self.add_module(name, nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, num_classes)
        he_initialise(self, "fan_out")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images (N, C, H, W) -> logits (N, classes)."""
        x = torch.relu_(self.bn(self.conv(x)))
        for name in self.stages:
            x = self.get_submodule(name)(x)
        return self.fc(x.mean((2, 3)))


def _thin(blocks: int, num_classes: int, in_channels: int, width: float) -> nn.Module:
    """A network of depth 6 * blocks + 2, with 16, 32 and 64 channels times `width`."""
    return ResNet(Block, [blocks] * 3, (16, 32, 64), num_classes, in_channels, width)


def resnet8(num_classes: int, in_channels: int, *, width: float = 1.0) -> nn.Module:
    """One block a stage."""
    return _thin(1, num_classes, in_channels, width)


def resnet20(num_classes: int, in_channels: int, *, width: float = 1.0) -> nn.Module:
    """Three blocks a stage."""
    return _thin(3, num_classes, in_channels, width)


def resnet32(num_classes: int, in_channels: int, *, width: float = 1.0) -> nn.Module:
    """Five blocks a stage. Su et al. use width 2: 1,855,584 prunable weights for 10 classes."""
    return _thin(5, num_classes, in_channels, width)


def resnet56(num_classes: int, in_channels: int, *, width: float = 1.0) -> nn.Module:
    """Nine blocks a stage."""
    return _thin(9, num_classes, in_channels, width)


def resnet110(num_classes: int, in_channels: int, *, width: float = 1.0) -> nn.Module:
    """Eighteen blocks a stage."""
    return _thin(18, num_classes, in_channels, width)


def resnet18_cifar(num_classes: int, in_channels: int, *, width: float = 1.0) -> nn.Module:
    """2-2-2-2 blocks with 64, 128, 256 and 512 channels times `width`: 11,173,962 parameters for 10 classes."""
    return ResNet(Block, (2, 2, 2, 2), (64, 128, 256, 512), num_classes, in_channels, width)


def resnet50_cifar(num_classes: int, in_channels: int, *, width: float = 1.0) -> nn.Module:
    """3-4-6-3 bottlenecks with 256, 512, 1024 and 2048 channels times `width`: 23,520,842 parameters for 10
    classes."""
    return ResNet(Bottleneck, (3, 4, 6, 3), (64, 128, 256, 512), num_classes, in_channels, width)
