"""Layers that can be removed: blocks with a shortcut around them, and the layers of networks of a single path."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from methods.layers import PRUNABLE, Layer
from methods.structure.signals import NORMS, hooked


@dataclass(frozen=True)
class Block:
    """What is removed as one: a module with all in it, or a convolution with its normalisation."""

    name: str
    """The module, or the convolution."""
    modules: tuple[str, ...]
    """What becomes the identity."""
    scored: tuple[str, ...]
    """Layers whose filters say how much it matters."""
    before: str | None = None
    """Of a network of a single path: the layer before it."""
    after: str | None = None
    """Likewise the layer that takes its output; fitted where its inputs become others."""


@dataclass(frozen=True)
class _Ran:
    name: str
    module: nn.Module
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    """Of input and output."""


def blocks(net: nn.Module, shape: tuple[int, int, int], layers: Sequence[Layer], residual: bool | None) -> list[Block]:
    """What can be removed, in the order in which it runs. Of a network with residual connections: the outermost
    modules, other than Sequential, that hold two prunable layers at least and put out what they take where their
    weights are zeros: blocks whose shortcut is the identity. Of one without: every convolution or linear map but the
    first and the last that leaves the size of its features, with its normalisation."""
    ran = _runs(net, shape)
    known = {layer.name for layer in layers}
    return _single(ran, known) if residual is False else _residual(net, ran, known)


def _runs(net: nn.Module, shape: tuple[int, int, int]) -> list[_Ran]:
    """Every module that takes one tensor and puts out one, in the order in which they end."""
    found: list[_Ran] = []

    def look(name: str, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if len(inputs) == 1 and isinstance(inputs[0], torch.Tensor) and isinstance(output, torch.Tensor):
            found.append(_Ran(name, module, (tuple(inputs[0].shape), tuple(output.shape))))

    device = next(net.parameters()).device
    with hooked(net.eval(), look), torch.no_grad():
        net(torch.zeros(1, *shape, device=device))
    return found


def _residual(net: nn.Module, ran: list[_Ran], known: set[str]) -> list[Block]:
    found: list[Block] = []
    for each in ran:
        inner = [name for name, module in each.module.named_modules() if isinstance(module, PRUNABLE)]
        whole = [f"{each.name}.{name}" for name in inner if name]
        fits = each.shapes[0] == each.shapes[1] and each.name and not isinstance(each.module, nn.Sequential)
        if fits and len(whole) > 1 and set(whole) <= known and _passes(each):
            # the last layer's features are added to the shortcut's: the others are the block's own
            found.append(Block(each.name, (each.name,), tuple(whole[:-1])))
    found = [block for block in found if len(_outermost(_inside(block, found))) < 2]  # else a stage, not a block
    return _outermost(found)


def _passes(ran: _Ran) -> bool:
    """Whether a module without weights puts out what it takes: it has a shortcut, and does not scale its input, as
    squeeze and excitation does."""
    bare = copy.deepcopy(ran.module)
    for parameter in bare.parameters():
        parameter.data.zero_()
    # so large that whatever activation follows the sum lets it through
    image = torch.full(ran.shapes[0], 100.0, device=next(bare.parameters()).device)
    with torch.no_grad():
        return bool(torch.allclose(bare(image), image))


def _inside(outer: Block, found: list[Block]) -> list[Block]:
    return [block for block in found if block.name.startswith(f"{outer.name}.")]


def _outermost(found: list[Block]) -> list[Block]:
    names = [block.name for block in found]
    return [block for block in found if not any(block.name.startswith(f"{name}.") for name in names)]


def is_path(net: nn.Module, shape: tuple[int, int, int]) -> bool:
    """Whether the network is a single path: nothing in it takes more than one thing that the image went into."""
    image = torch.zeros(1, *shape, device=next(net.parameters()).device, requires_grad=True)
    forks = 0
    seen: dict[Any, bool] = {}

    def from_image(node: Any) -> bool:
        nonlocal forks
        if node not in seen:
            if getattr(node, "variable", None) is not None:
                seen[node] = node.variable is image
            else:
                ways = sum(from_image(before) for before, _ in node.next_functions if before is not None)
                forks += ways > 1
                seen[node] = ways > 0
        return seen[node]

    return from_image(net.eval()(image).grad_fn) and not forks


def _single(ran: list[_Ran], known: set[str]) -> list[Block]:
    path = [each for each in ran if isinstance(each.module, (*PRUNABLE, *NORMS))]
    weighed = [i for i, each in enumerate(path) if isinstance(each.module, PRUNABLE)]
    names = [path[i].name for i in weighed]
    found = []
    for number, i in enumerate(weighed):
        each = path[i]
        same_size = each.shapes[0][2:] == each.shapes[1][2:] and len(each.shapes[0]) == len(each.shapes[1])
        if number in (0, len(weighed) - 1) or not same_size or each.name not in known or names.count(each.name) > 1:
            continue
        if getattr(each.module, "groups", 1) > 1:
            continue
        following = path[i + 1] if i + 1 < len(path) and isinstance(path[i + 1].module, NORMS) else None
        modules = (each.name, *([following.name] if following else []))
        found.append(Block(each.name, modules, (each.name,), names[number - 1], names[number + 1]))
    return found
