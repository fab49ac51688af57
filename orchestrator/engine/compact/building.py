"""A smaller network's operations, from those of the network and the channels that stay."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import fx

from orchestrator.engine.compact import rules
from orchestrator.engine.compact.draft import Draft, aten
from orchestrator.engine.compact.flat import argument, is_in_place, operation
from orchestrator.engine.compact.folding import folded
from orchestrator.engine.compact.maps import are_constant
from orchestrator.engine.compact.movement import SIZED, movement, steps_over
from orchestrator.engine.nets.placing import is_small_and_strided, is_wide_on_a_small_map


def build(draft: Draft) -> fx.GraphModule:
    """The smaller network."""
    flat, selection = draft.flat, draft.selection
    for node in flat.graph.nodes:
        if node.op != "call_function" or node.meta.get("val") is None:
            continue  # an assertion, which held
        if not (selection.is_gone(node) or selection.is_fixed(node)):
            draft.made[node] = _made(draft, node)
    writes = {draft.made[node] for node in flat.aliased & draft.made.keys() if is_in_place(node)}
    return draft.finish(keep=writes)


def _made(draft: Draft, node: fx.Node) -> fx.Node:
    value = node.meta["val"]
    if isinstance(value, torch.SymInt) and draft.flat.is_batch(value):
        return draft.images()
    if operation(node) in MAPS:
        return _map(draft, node)
    return _MAKERS.get(draft.analysis.rules.get(node), Draft.as_it_is)(draft, node)


MAPS = ("conv2d", "linear")


def outputs(node: fx.Node) -> int:
    """Output channels of a convolution or linear map."""
    return int(node.meta["val"].shape[1 if operation(node) == "conv2d" else -1])


def _map(draft: Draft, node: fx.Node) -> fx.Node:
    """A convolution or linear map of the channels that stay. What those that go add is in its bias where it is the
    same at all places; else (a padded border) it is added after it, and the bias with it. That addition costs what
    one or two channels of 32 cost (measured, 3x3 convolutions on a CPU), less where there are more channels: keeping
    them in its place would gain nothing that can be measured."""
    x, weight, bias = (argument(node, name) for name in ("input", "weight", "bias"))
    if not are_constant(draft.analysis, [each for each in (weight, bias) if each is not None]):
        draft.maps[node] = (draft.as_it_is(node), outputs(node))
        return draft.maps[node][0]
    found = folded(draft.analysis, draft.selection, node, draft.constant(weight), bias and draft.constant(bias))
    given, name = draft.tensor(x), draft.name(weight)
    own = False
    if draft.device.type == "cpu" and operation(node) == "conv2d":
        if is_small_and_strided(found.weight, argument(node, "stride")):
            own, given = True, draft.call(torch.clone, given, memory_format=torch.contiguous_format)
        elif is_wide_on_a_small_map(found.weight, node.meta["val"].shape[2:].numel()):
            own, given = True, draft.call(torch.Tensor.contiguous, given)
    args: list[Any] = [given, draft.hold(name, found.weight, parameter=True, own_format=own), None]
    if found.bias is not None:
        bias_name = draft.name(bias) if bias else f"{name.removesuffix('weight')}bias"
        args[2] = draft.hold(bias_name, found.bias, parameter=True)
    if operation(node) == "conv2d":
        args += [*(argument(node, each) for each in ("stride", "padding", "dilation")), found.groups]
    made = draft.call(node.target, *args)
    draft.maps[node] = (made, len(found.weight))
    if found.added is None:
        return made
    return draft.call(torch.Tensor.add_, made, draft.hold(f"{node.name}_added", found.added))


def _cat(draft: Draft, node: fx.Node) -> fx.Node:
    stay = [each for each in argument(node, "tensors") if not draft.selection.is_gone(each)]
    return draft.call(node.target, [draft.tensor(each) for each in stay], argument(node, "dim"))


def _by_channel(draft: Draft, node: fx.Node) -> fx.Node:
    """An operation on the channels that stay, with the parameters of these. A tensor that is the same for every image
    is not first made for each of them."""
    states, selection = draft.analysis.states, draft.selection
    state, stays = states[node], selection.of(node)
    axis = (state.dim or 0) - state.value.dim() if draft.analysis.rules[node] is rules.pointwise else 0
    tensors = [each for each in node.all_input_nodes if each in states]
    wide = any(states[each].value.shape == state.value.shape and not selection.is_fixed(each) for each in tensors)

    def given(each: fx.Node) -> fx.Node:
        if selection.is_fixed(each):
            fixed = draft.fixed(each)
            return draft.hold(f"{each.name}_fixed", _narrow(fixed, (state.dim or 0)) if wide else fixed)
        own = states.get(each)
        if own is None or not own.constant or stays.all() or own.value.dim() < max(1, -axis):
            return draft.tensor(each)
        if own.value.shape[axis] != len(stays):
            return draft.tensor(each)
        value = draft.constant(each).index_select(axis, stays.nonzero().flatten())
        return draft.hold(draft.name(each), value, parameter=each in draft.flat.parameters)

    args, kwargs = fx.map_arg((node.args, node.kwargs), given)
    target: Any = node.target
    if is_in_place(node) and selection.is_fixed(tensors[0]):
        target = getattr(getattr(aten, operation(node)), target._overloadname)
    return draft.call(target, *args, **kwargs)


def _narrow(value: torch.Tensor, dim: int) -> torch.Tensor:
    """With one place in place of many that are all the same."""
    for other in range(1, value.dim()):
        first = value.narrow(other, 0, 1)
        if other != dim and bool((value == first).all()):
            value = first
    return value


def _pad(draft: Draft, node: fx.Node) -> fx.Node:
    """A padding that adds the channels that stay."""
    given, amounts = node.all_input_nodes[0], list(argument(node, "pad"))
    state, stays = draft.analysis.states[given], draft.selection.of(node)
    place = 2 * (state.value.dim() - 1 - (state.dim or 0))
    if place < len(amounts):
        before = amounts[place]
        amounts[place : place + 2] = int(stays[:before].sum()), int(stays[before + len(state.labels) :].sum())
    return draft.call(node.target, draft.tensor(given), amounts, *node.args[2:], **node.kwargs)


def _movement(draft: Draft, node: fx.Node) -> fx.Node:
    """Elements moved as before, those that stay."""
    if node in draft.analysis.gathers:
        return _gather(draft, node)
    state = draft.analysis.states.get(node)
    if state is None or state.dim is None or operation(node) not in SIZED or draft.selection.of(node).all():
        return draft.as_it_is(node)
    given = node.all_input_nodes[0]
    sizes = list(fx.map_arg(node.args[1], draft.tensor))  # type: ignore[arg-type]
    sizes[state.dim] = int(draft.selection.of(node).sum())
    target = torch.Tensor.expand if operation(node) == "expand" else torch.reshape
    return draft.call(target, draft.tensor(given), sizes)


def _gather(draft: Draft, node: fx.Node) -> fx.Node:
    """Some channels of another tensor, in some order."""
    source, index = draft.analysis.gathers[node]
    from_source, stays = draft.selection.of(source), draft.selection.of(node)
    over, dim = steps_over(node, source), draft.analysis.states[source].dim
    if from_source.all() or (over and torch.equal(index, torch.arange(len(from_source)))):
        return draft.as_it_is(node)
    places = (from_source.cumsum(0) - 1)[index[stays]]
    first, count = int(places[0]), len(places)
    if over and torch.equal(places, torch.arange(first, first + count)):
        return draft.call(torch.narrow, draft.tensor(source), dim, first, count)
    held = draft.hold(f"{node.name}_index", places)
    return draft.call(torch.index_select, draft.tensor(source), dim, held)


_MAKERS: dict[Any, Callable[[Draft, fx.Node], fx.Node]] = {
    rules.pad: _pad,
    rules.cat: _cat,
    rules.pointwise: _by_channel,
    rules.batch_norm: _by_channel,
    rules.prelu: _by_channel,
    movement: _movement,
}
