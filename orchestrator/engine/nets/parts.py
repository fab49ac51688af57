"""What the built-in networks share."""

from __future__ import annotations

from typing import Literal

from torch import nn

WIDEST = 64


def channels(base: int, width: float) -> int:
    """`base` channels times `width`, at least one. Raises ValueError for a width out of (0, 64]."""
    if not 0 < width <= WIDEST:
        raise ValueError(f"width: expected a number above 0 and not above {WIDEST}, found {width:g}")
    return max(1, round(base * width))


def he_initialise(net: nn.Module, fan: Literal["fan_in", "fan_out"]) -> None:
    """Draw initial weights from torch's global generator: convolutions He-normal over `fan`,
    linear maps N(0, 0.01^2), biases 0, batch norm 1 and 0."""
    if any(parameter.is_meta for parameter in net.parameters()):
        return  # nothing to draw, and drawing on the meta device would load torch's compiler, for seconds
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode=fan, nonlinearity="relu")
        elif isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.01)
        if isinstance(module, (nn.Conv2d, nn.Linear)) and module.bias is not None:
            nn.init.zeros_(module.bias)
