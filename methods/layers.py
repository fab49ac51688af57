"""The layers a ticket prunes: every convolution's and linear map's weight, in module order."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatch
from math import prod

from torch import nn

PRUNABLE = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


@dataclass(frozen=True)
class Layer:
    """One prunable weight: its module's name and the weight's shape."""

    name: str
    shape: tuple[int, ...]
    classifier: bool = False
    """Whether it is the last linear map of the whole network."""

    @property
    def weights(self) -> int:
        """Number of weights (bias not counted)."""
        return prod(self.shape)

    @property
    def parameter(self) -> str:
        """Name of the weight in the network's state_dict."""
        return f"{self.name}.weight" if self.name else "weight"


def prunable_layers(net: nn.Module, exclude: tuple[str, ...] = ()) -> tuple[Layer, ...]:
    """Every Conv and Linear weight in module traversal order, without those whose module name
    matches a pattern of `exclude`. A weight that two modules share is one layer."""
    shapes: dict[str, tuple[int, ...]] = {}
    seen, classifier = set(), None
    for name, module in net.named_modules():
        if not isinstance(module, PRUNABLE) or id(module.weight) in seen:
            continue
        seen.add(id(module.weight))
        shapes[name] = tuple(module.weight.shape)
        classifier = name if isinstance(module, nn.Linear) else classifier
    excluded = {name for name in shapes if any(fnmatch(name, pattern) for pattern in exclude)}
    return tuple(Layer(name, shape, name == classifier) for name, shape in shapes.items() if name not in excluded)


def is_residual(net: nn.Module) -> bool | None:
    """Whether a network has residual connections, by its attribute `residual`; None where it does not say."""
    said = getattr(net, "residual", None)
    return said if isinstance(said, bool) else None
