"""How each kind of operation treats channels. What has no rule here computes with all of its inputs' channels."""

from __future__ import annotations

import torch
from torch import fx

from orchestrator.engine.compact.analysis import Analysis, Rule
from orchestrator.engine.compact.flat import argument, operation
from orchestrator.engine.compact.maps import are_constant, convolution, linear
from orchestrator.engine.compact.movement import MOVEMENTS, movement
from orchestrator.engine.compact.states import regular

POINTWISE = ("hardswish", "relu6", "hardtanh", "mish", "log_sigmoid", "multiply", "subtract", "divide")
"""Those that torch does not mark as pointwise, or not all of whose variants it marks."""


def find_rule(node: fx.Node) -> Rule | None:
    """The rule for an operation that is not in RULES by name."""
    tags = getattr(node.target, "tags", ())
    seeded = torch.Tag.nondeterministic_seeded in tags
    marked = torch.Tag.pointwise in tags and not seeded
    return pointwise if marked or operation(node) in POINTWISE else None


def pointwise(analysis: Analysis, node: fx.Node) -> bool:
    """Each channel of the outcome from the same channel of each input. A product is zero where a factor is."""
    moving = [each for each in node.all_input_nodes if each in analysis.states and not analysis.states[each].constant]
    states = [analysis.states[each] for each in moving]
    if any(state.dim is None for state in states):
        return False
    first = states[0]
    assert first.dim is not None
    shape, axis = analysis.flat.shape(node), first.dim - first.value.dim()
    for state in states:
        if state.dim is None or state.dim - state.value.dim() != axis or len(state.labels) != len(first.labels):
            return False
    if shape[axis] != len(first.labels):
        return False
    known = torch.stack([state.known for state in states]).all(0)
    if operation(node) in ("mul", "multiply"):
        known = known | torch.stack([state.is_zero() for state in states]).any(0) | _zeros(analysis, node, axis)
    for state in states[1:]:
        analysis.classes.couple(first.labels, state.labels)
    analysis.states[node] = regular(analysis.evaluate(node), len(shape) + axis, first.labels, known)
    return True


def _zeros(analysis: Analysis, node: fx.Node, axis: int) -> torch.Tensor:
    """Whether each channel is multiplied with a parameter that is zero."""
    found = torch.zeros(1, dtype=torch.bool)
    for each in node.all_input_nodes:
        state = analysis.states[each]
        if state.constant and state.value.dim() >= -axis:
            found = found | (state.value == 0).movedim(axis, 0).flatten(1).all(1)
    return found


def batch_norm(analysis: Analysis, node: fx.Node) -> bool:
    """In eval mode. A channel whose factor is zero does not depend on the image."""
    weight, mean = argument(node, "weight"), argument(node, "running_mean")
    if argument(node, "training") or mean is None or not are_constant(analysis, node.all_input_nodes[1:]):
        return False
    state = analysis.states[node.all_input_nodes[0]]
    if state.dim != 1:
        return False
    known = state.known if weight is None else state.known | (analysis.states[weight].value == 0)
    analysis.states[node] = regular(analysis.evaluate(node), 1, state.labels, known)
    return True


def prelu(analysis: Analysis, node: fx.Node) -> bool:
    """With one slope, or one for each channel."""
    return are_constant(analysis, node.all_input_nodes[1:]) and by_channel(analysis, node)


def by_channel(analysis: Analysis, node: fx.Node) -> bool:
    """Pooling and resizing: each channel of the outcome from the same channel of the one input, in dimension 1."""
    state = analysis.states[node.all_input_nodes[0]]
    if state.dim != 1 or not isinstance(node.meta["val"], torch.Tensor):
        return False
    analysis.states[node] = regular(analysis.evaluate(node), 1, state.labels, state.known)
    return True


def reduction(analysis: Analysis, node: fx.Node) -> bool:
    """Over places, not over channels or images."""
    given = node.all_input_nodes[0]
    state, dims = analysis.states[given], analysis.given(node, "dim")
    if state.dim is None or not dims or not analysis.flat.batched(given):
        return False
    reduced = {dim % state.value.dim() for dim in ([dims] if isinstance(dims, int) else dims)}
    if reduced & {0, state.dim}:
        return False
    dim = state.dim if argument(node, "keepdim") else state.dim - sum(each < state.dim for each in reduced)
    analysis.states[node] = regular(analysis.evaluate(node), dim, state.labels, state.known)
    return True


def cat(analysis: Analysis, node: fx.Node) -> bool:
    """Along the channels: all of them. Along another dimension: the same channels in each."""
    given, along = argument(node, "tensors"), argument(node, "dim") % node.meta["val"].dim()
    dims = {analysis.states[each].dim for each in given} - {None}
    dim = dims.pop() if dims else None
    if dim is None or dims:
        return False
    states = [analysis.channels(each, dim) for each in given]
    if any(state.dim is None for state in states):
        return False
    labels, known = states[0].labels, torch.stack([state.known for state in states]).all(0) if along != dim else None
    if known is None:
        labels, known = (torch.cat([getattr(state, part) for state in states]) for part in ("labels", "known"))
    else:
        for state in states[1:]:
            analysis.classes.couple(labels, state.labels)
    analysis.states[node] = regular(analysis.evaluate(node), dim, labels, known)
    return True


def pad(analysis: Analysis, node: fx.Node) -> bool:
    """Channels that are added are known, as long as none is taken away."""
    given, amounts = node.all_input_nodes[0], argument(node, "pad")
    state = analysis.states[given]
    if state.dim is None or not analysis.flat.batched(given) or len(amounts) >= 2 * state.value.dim():
        return False
    before, after = channel_pads(amounts, state.value.dim() - 1 - state.dim)
    if min(before, after) < 0 or (max(before, after) > 0 and argument(node, "mode", "constant") != "constant"):
        return False
    parts = [analysis.classes.fresh(before), state.labels, analysis.classes.fresh(after)]
    added = [torch.ones(count, dtype=torch.bool) for count in (before, after)]
    known = torch.cat([added[0], state.known, added[1]])
    analysis.states[node] = regular(analysis.evaluate(node), state.dim, torch.cat(parts), known)
    return True


def channel_pads(amounts: list[int], from_last: int) -> tuple[int, int]:
    """How much a padding adds before and after in the dimension that many places from the last."""
    own = amounts[2 * from_last : 2 * from_last + 2]
    return (own[0], own[1]) if own else (0, 0)


POOLINGS = ("max_pool2d", "avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d")
RESIZINGS = ("upsample_nearest2d", "upsample_bilinear2d", "upsample_bicubic2d", "_upsample_nearest_exact2d")

RULES: dict[str, Rule] = {
    **dict.fromkeys(MOVEMENTS, movement),
    **dict.fromkeys((*POOLINGS, *RESIZINGS), by_channel),
    **dict.fromkeys(("mean", "sum", "amax", "amin"), reduction),
    **dict.fromkeys(("pad", "constant_pad_nd"), pad),
    **{"batch_norm": batch_norm, "prelu": prelu, "cat": cat, "conv2d": convolution, "linear": linear},
}
