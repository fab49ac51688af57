"""A residual network that knows nothing of Jackpot, for images of 8x8: what a user's own source looks like."""

import torch
from torch import nn


class Block(nn.Module):
    """Two 3x3 convolutions with batch norm, added to the input."""

    def __init__(self, channels):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 2 * channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(2 * channels)
        self.conv2 = nn.Conv2d(2 * channels, channels, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x):
        y = torch.relu_(self.bn1(self.conv1(x)))
        return torch.relu_(self.bn2(self.conv2(y)) + x)


class Residual(nn.Module):
    """A stem, two blocks, a linear classifier on the mean over all places."""

    residual = True

    def __init__(self, num_classes):
        super().__init__()
        self.stem = nn.Conv2d(1, 6, 3, padding=1)
        self.blocks = nn.Sequential(Block(6), Block(6))
        self.fc = nn.Linear(6, num_classes)

    def forward(self, x):
        return self.fc(self.blocks(torch.relu(self.stem(x))).mean((2, 3)))


def make(num_classes):
    return Residual(num_classes)
