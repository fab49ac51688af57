"""Small plain convolutional networks, for images of 8x8 and more."""

from __future__ import annotations

import torch
from torch import nn

from orchestrator.engine.nets.parts import channels, he_initialise


class ConvNet(nn.Module):
    """conv-BN-ReLU three times with max-pools after the second and third, then the mean over all places and a
    linear classifier. At width 1 and 10 classes on grey images: 23,824 prunable weights."""

    residual = False

    def __init__(self, num_classes: int, in_channels: int, width: float) -> None:
        super().__init__()
        first, second, third = (channels(base, width) for base in (16, 32, 64))
        self.conv1 = nn.Conv2d(in_channels, first, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.conv2 = nn.Conv2d(first, second, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(second)
        self.conv3 = nn.Conv2d(second, third, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(third)
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(third, num_classes)
        he_initialise(self, "fan_out")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images (N, C, H, W) -> logits (N, classes)."""
        x = torch.relu_(self.bn1(self.conv1(x)))
        x = self.pool(torch.relu_(self.bn2(self.conv2(x))))
        x = self.pool(torch.relu_(self.bn3(self.conv3(x))))
        return self.fc(x.mean((2, 3)))


def convnet(num_classes: int, in_channels: int, *, width: float = 1.0) -> nn.Module:
    """Channels 16, 32, 64 times `width`."""
    return ConvNet(num_classes, in_channels, width)


class Conv3(nn.Module):
    """conv-BN-pool-ReLU three times with 64, 128 and 256 channels, then the mean over all places and a linear
    classifier: the small network of COLT (Hossain et al., IEEE TAI 2025). Convolutions have a bias. For 10 classes
    on colour images: 374,282 parameters."""

    residual = False

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in ((in_channels, 64), (64, 128), (128, 256)):
            convolution = nn.Conv2d(inputs, outputs, 3, padding=1)
            layers += [convolution, nn.BatchNorm2d(outputs), nn.MaxPool2d(2), nn.ReLU(inplace=True)]
        self.features = nn.Sequential(*layers)
        self.fc = nn.Linear(256, num_classes)
        he_initialise(self, "fan_out")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images (N, C, H, W) -> logits (N, classes)."""
        return self.fc(self.features(x).mean((2, 3)))


def conv3(num_classes: int, in_channels: int) -> nn.Module:
    """The network above; it has no options."""
    return Conv3(num_classes, in_channels)
