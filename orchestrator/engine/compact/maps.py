"""Convolutions and linear maps: which of their outputs are known, and which inputs each of them reads."""

from __future__ import annotations

import torch
from torch import fx

from orchestrator.engine.compact.analysis import Analysis, Reader
from orchestrator.engine.compact.flat import argument
from orchestrator.engine.compact.states import State, regular


def linear(analysis: Analysis, node: fx.Node) -> bool:
    """A linear map of the last dimension."""
    return _map(analysis, node, node.meta["val"].dim() - 1)


def convolution(analysis: Analysis, node: fx.Node) -> bool:
    """A convolution; in groups, a group stays or goes as a whole."""
    groups, padding = argument(node, "groups"), argument(node, "padding")
    if node.meta["val"].dim() != 4:
        return False
    if groups > 1:
        return _in_groups(analysis, node, groups)
    return _map(analysis, node, 1, padded=padding != "valid" and (isinstance(padding, str) or any(padding)))


def _map(analysis: Analysis, node: fx.Node, dim: int, padded: bool = False) -> bool:
    x, weight = _operands(analysis, node)
    if weight is None or weight.dim() < 2 or x.dim not in (None, dim):
        return False
    if x.source is not None:
        analysis.keep(x.source)
    reads = (weight != 0).flatten(2).any(2) if weight.dim() > 2 else weight != 0
    known = x.known if x.dim is not None else torch.zeros(reads.shape[1], dtype=torch.bool)
    folds = known
    if x.dim is not None and not analysis.flat.batched(node):  # only what is the same at all places can be folded
        folds = x.is_zero() if padded else x.is_uniform()
    labels = analysis.classes.fresh(len(reads))
    analysis.states[node] = regular(analysis.evaluate(node), dim, labels, ~reads[:, ~known].any(1))
    analysis.readers.append(Reader(node, x.labels, labels, reads, folds))
    return True


def _in_groups(analysis: Analysis, node: fx.Node, groups: int) -> bool:
    x, weight = _operands(analysis, node)
    if weight is None or x.dim != 1:
        return False
    reads = (weight != 0).flatten(2).any(2).unflatten(0, (groups, -1))
    unknown = ~x.known.unflatten(0, (groups, 1, -1))
    labels = analysis.classes.fresh(groups)
    each = x.labels.unflatten(0, (groups, -1))
    analysis.classes.couple(labels.repeat_interleave(each.shape[1]), x.labels)
    known = ~(reads & unknown).any(2).flatten()
    own = labels.repeat_interleave(reads.shape[1])
    analysis.states[node] = regular(analysis.evaluate(node), 1, own, known)
    return True


def _operands(analysis: Analysis, node: fx.Node) -> tuple[State, torch.Tensor | None]:
    """What a convolution or linear map is applied to, and its weight; None where weight or bias are not fixed."""
    x, weight, bias = (argument(node, name) for name in ("input", "weight", "bias"))
    fixed = are_constant(analysis, [each for each in (weight, bias) if each is not None])
    return analysis.states[x], analysis.states[weight].value if fixed else None


def are_constant(analysis: Analysis, nodes: list[fx.Node]) -> bool:
    """Whether all are made of parameters alone."""
    return all(each in analysis.states and analysis.states[each].constant for each in nodes)
