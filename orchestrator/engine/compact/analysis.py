"""The pass forward: what each tensor of a network is, from the images to the logits."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx

from orchestrator.engine.compact.flat import Flat, argument, is_in_place, operation
from orchestrator.engine.compact.states import Classes, State


@dataclass(frozen=True)
class Reader:
    """A convolution or linear map that is no group convolution: each output channel reads some input channels."""

    node: fx.Node
    inputs: torch.Tensor
    """Labels of the input channels, (I,); none where no input channel can be removed."""
    outputs: torch.Tensor
    """Labels of the output channels, (O,)."""
    reads: torch.Tensor
    """Whether an output channel has a weight that is not zero for an input channel, bool (O, I)."""
    folds: torch.Tensor
    """Whether an input channel is known and what it adds can be a constant, bool (I,)."""


class Analysis:
    """The states of all tensors, by node, and by which rule each node was understood."""

    def __init__(self, flat: Flat) -> None:
        self.flat = flat
        self.classes = Classes()
        self.states: dict[fx.Node, State] = {}
        self.lists: dict[fx.Node, list[State]] = {}
        """Of operations that give several tensors."""
        self.numbers: dict[fx.Node, Any] = {}
        """Sizes, for one image."""
        self.rules: dict[fx.Node, Rule] = {}
        """Nodes that are not here are opaque: they compute with all of their inputs."""
        self.readers: list[Reader] = []
        self.gathers: dict[fx.Node, tuple[fx.Node, torch.Tensor]] = {}
        """Nodes whose channels are some of another's, in some order: that node, and which of its channels."""

    def run(self, rules: dict[str, Rule], find: Find) -> None:
        """Go through all operations. `rules`: by name; `find`: for all other nodes."""
        for node in self.flat.graph.nodes:
            if node in self.flat.constants:
                self.states[node] = State(self.flat.constants[node], constant=True)
            elif node.op == "placeholder":
                self.states[node] = State(torch.zeros(self.flat.shape(node), dtype=torch.float64))
            elif node.op == "call_function":
                self._step(node, rules.get(operation(node)) or find(node))
        self.keep(self.flat.output)

    def _step(self, node: fx.Node, rule: Rule | None) -> None:
        value = node.meta.get("val")
        inputs = [each for each in node.all_input_nodes if each in self.states]
        if not isinstance(value, torch.Tensor | list | tuple):
            self._number(node, value)
        elif isinstance(value, torch.Tensor) and self._is_constant(node, inputs):
            self.states[node] = State(self.evaluate(node), constant=True)
        elif node in self.flat.aliased or rule is None or not self._understood(node, rule):
            for each in node.all_input_nodes:
                self.keep(each)
            if isinstance(value, torch.Tensor):
                self.states[node] = State(torch.zeros(self.flat.shape(node), dtype=_wide(value.dtype)))
        else:
            self.rules[node] = rule

    def _understood(self, node: fx.Node, rule: Rule) -> bool:
        try:
            return rule(self, node)
        except NotImplementedError:  # torch has no such operation in float64, or on positions
            return False

    def _number(self, node: fx.Node, value: Any) -> None:
        if value is None:
            return  # an assertion
        self.numbers[node] = self.flat.size(value) if isinstance(value, torch.SymInt) else value
        if not self.flat.is_batch(value):  # the number of images can be had from the images
            for each in node.all_input_nodes:
                self.keep(each)

    def _is_constant(self, node: fx.Node, inputs: list[fx.Node]) -> bool:
        return (
            node not in self.flat.aliased
            and len(inputs) == len(node.all_input_nodes) > 0
            and all(self.states[each].constant for each in inputs)
        )

    def keep(self, node: fx.Node) -> None:
        """All channels of a tensor, or of tensors, must stay."""
        for state in self.lists.get(node, [self.states[node]] if node in self.states else []):
            source = self.states[state.source] if state.source is not None else state
            self.classes.pin(source.labels)

    def channels(self, node: fx.Node, dim: int) -> State:
        """A tensor's state with channels in `dim`, pinned where it had none."""
        state = self.states[node]
        if state.dim is None and state.source is None and not state.constant:
            count = state.value.shape[dim]
            state.dim, state.labels, state.known = dim, self.classes.fresh(count), torch.zeros(count, dtype=torch.bool)
            self.classes.pin(state.labels)
        return state

    def evaluate(self, node: fx.Node, first: torch.Tensor | None = None) -> Any:
        """A node's operation on its inputs' values; `first` in place of the first one."""
        args, kwargs = fx.map_arg((node.args, node.kwargs), self._value)
        value: Any = args[0] if first is None else first
        if is_in_place(node):
            value = value.clone()
        target: Any = operator.getitem if operation(node) == "getitem" else node.target
        return target(value, *args[1:], **kwargs)

    def _value(self, node: fx.Node) -> Any:
        if node in self.numbers:
            return self.numbers[node]
        if node in self.lists:
            return [state.value for state in self.lists[node]]
        return wide(self.states[node].value)

    def given(self, node: fx.Node, name: str) -> Any:
        """An argument by name, sizes as numbers."""
        return fx.map_arg(argument(node, name), lambda each: self.numbers.get(each, each))


Rule = Callable[[Analysis, fx.Node], bool]
"""Finds the state of a node and enters it; False where it does not understand it."""
Find = Callable[[fx.Node], Rule | None]
"""Finds the rule for an operation."""


def wide(value: torch.Tensor) -> torch.Tensor:
    """In float64 if it is floating."""
    return value.to(_wide(value.dtype))


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype.is_floating_point else dtype
