"""The least time that a network's forward pass could take on this machine: by its FLOPs, and by its bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

aten = torch.ops.aten
MAPS = (aten.convolution, aten.conv2d, aten.linear, aten.addmm, aten.mm, aten.bmm)


@dataclass(frozen=True)
class Work:
    """What one forward pass must do."""

    flops: int
    """Of convolutions and matrix products."""
    bytes: int
    """Their weights, inputs and outputs, once each: everything between them could be done on the way."""

    def seconds(self, flops_per_second: float, bytes_per_second: float) -> tuple[float, float]:
        """The time of each at the machine's best; the larger is the floor where no cache holds the bytes."""
        return self.flops / flops_per_second, self.bytes / bytes_per_second


def work(net: nn.Module, images: torch.Tensor) -> Work:
    """That of a network for images."""
    counter, traffic = FlopCounterMode(display=False), _Traffic()
    with torch.no_grad():
        with counter:
            net(images)
        with traffic:
            net(images)
    return Work(counter.get_total_flops(), traffic.bytes)


class _Traffic(TorchDispatchMode):
    """Adds up the tensors that convolutions and matrix products read and write."""

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if func.overloadpacket in MAPS:
            self.bytes += sum(each.nbytes for each in [*args, found] if isinstance(each, torch.Tensor))
        return found
