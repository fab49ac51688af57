"""Small float64 networks and batches that scores are checked on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from benches import ScoringBench
from torch import nn

Tensors = dict[str, torch.Tensor]


def tanh_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()


def batch(number: int, images: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(number)
    return torch.randn(images, 4, generator=source).double(), torch.randint(3, (images,), generator=source)


def bench_of(net: nn.Module, batches: list[Any] | None = None, shape: tuple[int, int, int] | None = None) -> Any:
    """A bench that hands out a copy of the network, as the engine does."""
    import copy

    bench = ScoringBench(net, batches or [])

    def fresh(weights: Tensors) -> nn.Module:
        made = copy.deepcopy(net)
        made.load_state_dict(weights)
        return made.train()

    bench.net = fresh  # type: ignore[method-assign]
    bench.shape = shape or bench.shape
    return bench


def differences(net: nn.Module, of: Callable[[], float], step: float = 1e-6) -> Tensors:
    """d of() / dw of every weight of the linear layers, by central differences."""
    found = {}
    for name, module in net.named_modules():
        if isinstance(module, nn.Linear):
            flat, slopes = module.weight.data.view(-1), torch.zeros(module.weight.numel(), dtype=torch.float64)
            for i in range(len(flat)):
                kept, values = flat[i].item(), []
                for way in (1, -1):
                    flat[i] = kept + way * step
                    values.append(of())
                flat[i] = kept
                slopes[i] = (values[0] - values[1]) / (2 * step)
            found[name] = slopes.view_as(module.weight)
    return found
