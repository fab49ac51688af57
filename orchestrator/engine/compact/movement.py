"""Operations that only move elements (views, permutations, slices, ...): where each channel goes is found by letting
them move the elements' positions."""

from __future__ import annotations

import math

import torch
from torch import fx

from orchestrator.engine.compact.analysis import Analysis
from orchestrator.engine.compact.flat import operation
from orchestrator.engine.compact.states import State, regular

SIZED = ("view", "reshape", "expand", "_unsafe_view")
"""Those that are told the sizes that they make."""
FREE = (
    *("permute", "transpose", "swapaxes", "movedim", "moveaxis", "flatten", "squeeze", "unsqueeze", "contiguous"),
    *("clone", "alias", "detach", "slice", "select", "narrow", "roll", "flip", "getitem", "t", "numpy_T"),
)
"""Those whose arguments do not name the number of channels, unless they select channels."""
SELECTING = (
    *("chunk", "split", "split_with_sizes", "tensor_split", "unbind", "index_select", "channel_shuffle"),
    *("unflatten", "pixel_shuffle", "pixel_unshuffle"),
)
MOVEMENTS = (*SIZED, *FREE, *SELECTING)


def movement(analysis: Analysis, node: fx.Node) -> bool:
    """The state of what an operation of MOVEMENTS makes."""
    given = node.args[0]
    if not isinstance(given, fx.Node) or (given not in analysis.states and given not in analysis.lists):
        return False
    if given in analysis.lists:
        state = analysis.lists[given][node.args[1]]  # type: ignore[index]
        return _enter(analysis, node, state.source, state.positions)
    state = analysis.states[given]
    if state.source is None and state.dim is None:
        return False
    source = given if state.source is None else state.source
    moved = analysis.evaluate(node, _positions(state) if state.positions is None else state.positions)
    if isinstance(moved, torch.Tensor):
        return _enter(analysis, node, source, moved)
    analysis.lists[node] = [_scattered(analysis, source, each) for each in moved]
    return True


def _enter(analysis: Analysis, node: fx.Node, source: fx.Node | None, moved: torch.Tensor | None) -> bool:
    """Enter the state of a node that holds the elements of `source` at the positions `moved`."""
    if source is None or moved is None:
        return False
    state = analysis.states[source]
    assert state.dim is not None
    channel = moved // math.prod(state.value.shape[state.dim + 1 :]) % state.value.shape[state.dim]
    found = _dimension(channel, state.dim)
    if found is None:
        analysis.states[node] = _scattered(analysis, source, moved)
        return True
    dim, index = found
    if _is_gather(state, moved, dim, index):
        analysis.gathers[node] = (source, index)
    elif not (steps_over(node, source) and _has_all(index, state) and operation(node) in (*SIZED, *FREE)):
        return False
    value = state.value.flatten()[moved.flatten()].reshape(moved.shape)
    analysis.states[node] = regular(value, dim, state.labels[index], state.known[index])
    return True


def _scattered(analysis: Analysis, source: fx.Node, moved: torch.Tensor) -> State:
    value = analysis.states[source].value.flatten()[moved.flatten()].reshape(moved.shape)
    return State(value, source=source, positions=moved)


def _positions(state: State) -> torch.Tensor:
    return torch.arange(state.value.numel()).reshape(state.value.shape)


def _dimension(channel: torch.Tensor, preferred: int) -> tuple[int, torch.Tensor] | None:
    """The one dimension along which the channel changes, and the channels along it; None where there are more."""
    dims = list(range(channel.dim()))
    for dim in sorted(dims, key=lambda dim: (dim != preferred, dim != 1, -dim)):
        flat = channel.movedim(dim, 0).flatten(1)
        if bool((flat == flat[:, :1]).all()):
            return dim, flat[:, 0]
    return None


def _is_gather(state: State, moved: torch.Tensor, dim: int, index: torch.Tensor) -> bool:
    """Whether channels were selected, and nothing else happened."""
    return (
        dim == state.dim
        and moved.dim() == state.value.dim()
        and moved.shape == (*state.value.shape[:dim], len(index), *state.value.shape[dim + 1 :])
        and torch.equal(moved, _positions(state).index_select(dim, index))
    )


def steps_over(node: fx.Node, source: fx.Node) -> bool:
    """Whether a node makes its tensor from `source` itself, or from a list that was made from it without a choice of
    channels."""
    given = node.args[0]
    assert isinstance(given, fx.Node)
    return given is source or (operation(node) == "getitem" and given.args[0] is source)


def _has_all(index: torch.Tensor, state: State) -> bool:
    return len(index.unique()) == len(state.labels)
