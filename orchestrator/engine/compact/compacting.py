"""From a masked network to a smaller one that computes the same.

Weights that are zero leave channels that nothing reads, and channels that are the same for every image. Both are
removed, together with the channels that are tied to them by additions, products, concatenations and depthwise
convolutions. What removed channels of the second kind add to what follows is a constant: it goes into the next bias,
or, where a padded border makes it differ from place to place, into a map that is added. Weights are not otherwise
changed, and batch norm is not folded. The smaller network is a program that calls no modules, which alone makes a
small batch faster: what it gains by the zeros is what it gains beyond `flattened`.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from orchestrator.engine.compact.analysis import Analysis, Find, Rule
from orchestrator.engine.compact.building import MAPS, build, outputs
from orchestrator.engine.compact.describing import layer_names, structure
from orchestrator.engine.compact.draft import Draft
from orchestrator.engine.compact.errors import CompactError
from orchestrator.engine.compact.flat import flat, operation
from orchestrator.engine.compact.rules import RULES, find_rule
from orchestrator.engine.compact.selection import Selection
from orchestrator.engine.macs import macs
from orchestrator.engine.seeds import generator
from orchestrator.engine.tracing import TOLERANCE, TraceError, traced


@dataclass(frozen=True)
class Compact:
    """A network without the channels that its zeros have emptied."""

    net: nn.Module
    """Takes images (N, C, H, W), any N, and gives what the network gives in eval mode, within 1e-5 of the larger of 1
    and the largest logit. The network itself where nothing could be removed."""
    changed: bool
    layers: dict[str, tuple[int, int]]
    """Convolution or linear map -> output channels that are still computed, and how many there were. One that runs
    twice is there twice."""
    before: int
    """Output channels of all convolutions and linear maps, in the network,"""
    after: int
    """and those that are still computed."""
    macs_before: int
    """Multiply-accumulates of one image, as `macs.Macs.total` counts them, in the network,"""
    macs_after: int
    """and in the smaller one."""
    structure: list[Any]
    """For JSON: the operations in order, with their inputs, arguments and shapes. Two smaller networks of the same
    structure compute the same operations on the same shapes, and so take the same time."""


def compacted(net: nn.Module, shape: tuple[int, int, int]) -> Compact:
    """The network in eval mode, without the channels that its zeros have emptied; `shape`: of an image, (C, H, W). The
    network stays as it is. What is made is tried on random images. Raises CompactError where torch.export cannot make
    a program of it, where it gives other than one tensor, and where the smaller network gives other logits."""
    draft, smaller = _made(net, shape, RULES, find_rule)
    layers = _layers(draft)
    changed = any(kept < of for kept, of in layers.values())
    macs_before = macs(net, shape, ()).total
    return Compact(
        net=smaller if changed else net,
        changed=changed,
        layers=layers,
        before=sum(of for _, of in layers.values()),
        after=sum(kept for kept, _ in layers.values()),
        macs_before=macs_before,
        macs_after=macs(smaller, shape, ()).total if changed else macs_before,
        structure=structure(smaller, torch.zeros(1, *shape, device=draft.device)),
    )


def flattened(net: nn.Module, shape: tuple[int, int, int]) -> fx.GraphModule:
    """The network in eval mode as a program of the same kind, with nothing removed: it runs faster than the modules do,
    because it calls none, and what `compacted` gains beyond it is the gain of removal. Raises as `compacted`."""
    return _made(net, shape, {}, lambda node: None)[1]


def _made(
    net: nn.Module, shape: tuple[int, int, int], rules: dict[str, Rule], find: Find
) -> tuple[Draft, fx.GraphModule]:
    """The smaller network, tried."""
    name = type(net).__name__
    device = next((tensor.device for tensor in (*net.parameters(), *net.buffers())), torch.device("cpu"))
    images = torch.randn(3, *shape, generator=generator(0, "compact"))
    own = copy.deepcopy(net).cpu().eval()
    try:
        program = traced(own, images, name)
    except TraceError as error:
        raise CompactError(name, str(error).removeprefix(f"{name}: ")) from error
    with torch.no_grad():
        analysis = Analysis(flat(program, name))
        analysis.run(rules, find)
        draft = Draft(analysis, Selection(analysis), device)
        smaller = build(draft)
        _check(name, own.to(device), smaller, images.to(device))
    return draft, smaller


def _layers(draft: Draft) -> dict[str, tuple[int, int]]:
    nodes = [node for node in draft.flat.graph.nodes if node.op == "call_function" and operation(node) in MAPS]
    there = set(draft.graph.nodes)
    kept = {node: count for node, (made, count) in draft.maps.items() if made in there}
    names = layer_names(draft.flat, nodes)
    return {names[node]: (kept.get(node, 0), outputs(node)) for node in nodes}


def _check(name: str, net: nn.Module, smaller: nn.Module, images: torch.Tensor) -> None:
    """Raises CompactError where the smaller network gives other logits for three images, or one. Where a network's own
    rounding in float32 is above the bound, both are compared in float64, and in float32 to ten times the rounding."""
    with _exactly():
        for some in (images, images[:1]):
            wanted = net(some)
            bound = TOLERANCE * max(1.0, wanted.abs().max().item())
            difference = _difference(smaller(some.to(memory_format=torch.channels_last)), wanted)
            if not difference <= bound:  # nor where it is not a number
                exact, exactly_made = (copy.deepcopy(each).double()(some.double()) for each in (net, smaller))
                rounding = _difference(wanted, exact)
                if not (_difference(exactly_made, exact) <= bound and difference <= 10 * rounding):
                    what = f"the smaller network's logits differ by {difference:.3g}, expected at most {bound:.3g}"
                    raise CompactError(name, what)


def _difference(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return (wanted - found).abs().max().item() if wanted.shape == found.shape else float("inf")


@contextmanager
def _exactly() -> Iterator[None]:
    """With all the digits of float32 on a GPU too."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before
