"""The masks of a training: they keep removed weights at zero, and an updater may change which these are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from methods.bench import Tensors
from methods.layers import Layer
from methods.updater import Moment, Updater
from orchestrator.engine.seeds import generator

PREFIX = "mask/"
"""How the names of masks begin in a trainer's state."""


@dataclass(frozen=True)
class Updating:
    """An updater, and the layers whose masks it changes."""

    updater: Updater
    layers: Sequence[Layer]


class Masking:
    """Masks by parameter name, on the parameters of `net`, whose removed weights are set to zero at once."""

    def __init__(
        self, net: nn.Module, masks: Mapping[str, torch.Tensor], updating: Updating | None = None, seed: int = 0
    ) -> None:
        named = dict(net.named_parameters())
        self.updating, self.seed = updating, seed
        self.parameters = {name: named[name] for name in masks}
        self.factors = {name: torch.empty_like(named[name]).copy_(mask) for name, mask in masks.items()}
        """Masks as 1 and 0, in the parameter's type and memory format."""
        self.zero()

    @torch.no_grad()
    def zero(self) -> None:
        """Set removed weights to zero."""
        for name, parameter in self.parameters.items():
            parameter.mul_(self.factors[name])

    def densities(self) -> dict[str, float]:
        """Fraction kept of each masked parameter."""
        return {name: factor.mean(dtype=torch.float64).item() for name, factor in self.factors.items()}

    def sparsity(self) -> float:
        """Fraction removed of all masked parameters."""
        kept = sum(int(factor.count_nonzero()) for factor in self.factors.values())
        return 1 - kept / max(1, sum(factor.numel() for factor in self.factors.values()))

    def due(self, step: int) -> bool:
        """Whether the updater wants to change masks after this step."""
        return self.updating is not None and self.updating.updater.due(step)

    def gradients(self) -> Tensors:
        """Copies of the gradients as they are, by layer name: of removed weights too, before these lose theirs."""
        assert self.updating is not None
        found = {}
        for layer in self.updating.layers:
            parameter = self.parameters[layer.parameter]
            gradient = parameter.grad
            found[layer.name] = torch.zeros_like(parameter) if gradient is None else gradient.detach().clone()
        return found

    def mask_gradients(self) -> None:
        """A removed weight gets no gradient, so that momentum and weight decay leave it at exactly zero."""
        found = {name: own.grad for name, own in self.parameters.items() if own.grad is not None}
        if found:
            torch._foreach_mul_(list(found.values()), [self.factors[name] for name in found])  # on a GPU, one launch

    @torch.no_grad()
    def update(self, step: int, steps: int, gradients: Tensors, optimiser: torch.optim.Optimizer) -> None:
        """Let the updater change the masks after optimiser step `step` of `steps`; `gradients`: by layer name. Weights
        and the optimiser's tensors are zero where a weight is removed, comes back or is reset. Raises ValueError for
        masks of other shapes."""
        assert self.updating is not None
        layers = {layer.name: layer.parameter for layer in self.updating.layers}
        weights = {name: self.parameters[own].detach().clone() for name, own in layers.items()}
        masks = {name: self.factors[own] > 0 for name, own in layers.items()}

        def draws(purpose: str, *parts: int | str) -> torch.Generator:
            return generator(self.seed, purpose, step, *parts)

        change = self.updating.updater.change(Moment(step, steps, weights, masks, gradients, draws))
        new = checked_masks(change.masks, {name: mask.shape for name, mask in masks.items()})
        for name, own in layers.items():
            self.factors[own].copy_(new[name])
            stays = new[name] & masks[name]
            if change.reset is not None:
                stays &= ~change.reset[name]
            self._keep(self.parameters[own], stays, optimiser)

    def _keep(self, parameter: nn.Parameter, stays: torch.Tensor, optimiser: torch.optim.Optimizer) -> None:
        parameter.mul_(stays)
        for value in optimiser.state[parameter].values():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape:
                value.mul_(stays)

    def state(self) -> Tensors:
        """The masks, if an updater may have changed them: bool by layer name, under "mask/LAYER"."""
        if self.updating is None:
            return {}
        return {f"{PREFIX}{layer.name}": self.factors[layer.parameter] > 0 for layer in self.updating.layers}

    def restore(self, tensors: Tensors) -> None:
        """Take the masks out of what `state` gave."""
        for name, mask in masks_in(tensors).items():
            assert self.updating is not None
            own = next(layer.parameter for layer in self.updating.layers if layer.name == name)
            self.factors[own].copy_(mask)


def masks_in(tensors: Tensors) -> Tensors:
    """The masks by layer name out of what `Masking.state` gave."""
    return {name.removeprefix(PREFIX): value for name, value in tensors.items() if name.startswith(PREFIX)}


def checked_masks(masks: Tensors, shapes: Mapping[str, torch.Size]) -> Tensors:
    """A method's masks. Raises ValueError where they are not bool in these `shapes`, by layer name."""
    if unknown := [name for name in masks if name not in shapes]:
        raise ValueError(f"the masks hold {unknown[0]!r}, which is no prunable layer of the network")
    for name, shape in shapes.items():
        found = masks.get(name)
        if found is None or found.dtype != torch.bool or found.shape != shape:
            raise ValueError(
                f"the mask of layer {name!r} is {described(found)}; expected bool of shape "
                f"{tuple(shape)}, True where the weight is kept"
            )
    return masks


def described(value: Any) -> str:
    """A value as an error names it."""
    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} of shape {tuple(value.shape)}"
    return "missing" if value is None else f"a value of type {type(value).__name__}"
