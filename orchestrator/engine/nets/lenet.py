"""LeNet-300-100 and LeNet-5 (LeCun et al., Gradient-based learning applied to document recognition, 1998) as the
pruning literature trains them: ReLU, max-pools, Glorot-normal weights (Frankle & Carbin, ICLR 2019)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F


class LeNet300100(nn.Module):
    """Linear maps to 300, 100 and the classes. On 28x28 grey images with 10 classes: 266,610 parameters."""

    residual = False

    def __init__(self, num_classes: int, in_channels: int, input_size: tuple[int, int]) -> None:
        super().__init__()
        self.fc1 = nn.Linear(in_channels * input_size[0] * input_size[1], 300)
        self.fc2 = nn.Linear(300, 100)
        self.fc3 = nn.Linear(100, num_classes)
        _glorot_initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images (N, C, H, W) -> logits (N, classes)."""
        x = torch.relu_(self.fc1(x.flatten(1)))
        return self.fc3(torch.relu_(self.fc2(x)))


class LeNet5(nn.Module):
    """Two 5x5 convolutions without padding, each followed by a 2x2 max-pool, then linear maps through `hidden`
    units. Images below `least` pixels are padded with zeros to that size, as LeCun et al. pad theirs."""

    residual = False

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        input_size: tuple[int, int],
        filters: tuple[int, int],
        hidden: tuple[int, ...],
        least: int,
    ) -> None:
        super().__init__()
        self.padding = [pixels for side in reversed(input_size) for pixels in _padding(side, least)]
        height, width = ((max(side, least) - 4) // 2 - 4 for side in input_size)
        self.conv1 = nn.Conv2d(in_channels, filters[0], 5)
        self.conv2 = nn.Conv2d(filters[0], filters[1], 5)
        self.pool = nn.MaxPool2d(2)
        widths = [filters[1] * (height // 2) * (width // 2), *hidden]
        self.hidden = nn.ModuleList(nn.Linear(*pair) for pair in zip(widths, hidden, strict=False))
        self.fc = nn.Linear(widths[-1], num_classes)
        _glorot_initialise(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Images (N, C, H, W) -> logits (N, classes)."""
        x = self.pool(torch.relu_(self.conv1(F.pad(x, self.padding))))
        x = self.pool(torch.relu_(self.conv2(x))).flatten(1)
        for linear in self.hidden:
            x = torch.relu_(linear(x))
        return self.fc(x)


def _padding(side: int, least: int) -> tuple[int, int]:
    missing = max(0, least - side)
    return missing // 2, missing - missing // 2


def _glorot_initialise(net: nn.Module) -> None:
    if any(parameter.is_meta for parameter in net.parameters()):
        return  # see he_initialise
    for module in net.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.xavier_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def lenet_300_100(num_classes: int, in_channels: int, input_size: tuple[int, int]) -> nn.Module:
    """The network above; it has no options."""
    return LeNet300100(num_classes, in_channels, input_size)


def lenet5(num_classes: int, in_channels: int, input_size: tuple[int, int], *, caffe: bool = False) -> nn.Module:
    """6 and 16 filters, 120 and 84 units, on images of 32x32 and more: 61,706 parameters for 28x28 grey images and
    10 classes. `caffe`: 20 and 50 filters and 500 units, on 28x28 and more, the variant that Han et al. (NeurIPS
    2015) and Lee et al. (ICLR 2019) prune: 431,080 parameters."""
    if caffe:
        return LeNet5(num_classes, in_channels, input_size, (20, 50), (500,), 28)
    return LeNet5(num_classes, in_channels, input_size, (6, 16), (120, 84), 32)
