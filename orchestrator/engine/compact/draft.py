"""A smaller network while it is being made."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import fx, nn
from torch.nn import functional as F

from orchestrator.engine.compact.analysis import Analysis
from orchestrator.engine.compact.selection import Selection

aten = torch.ops.aten
DIRECT: dict[Any, Any] = {
    aten.conv2d.default: torch.conv2d,
    aten.linear.default: F.linear,
    aten.batch_norm.default: torch.batch_norm,
    aten.relu.default: torch.relu,
    aten.relu_.default: torch.relu_,
    aten.add.Tensor: torch.add,
    aten.add_.Tensor: torch.Tensor.add_,
    aten.mul.Tensor: torch.mul,
    aten.cat.default: torch.cat,
    aten.mean.dim: torch.mean,
    aten.max_pool2d.default: torch.max_pool2d,
    aten.flatten.using_ints: torch.flatten,
    aten.view.default: torch.reshape,  # a view in the memory format of the trace may be none in channels_last
}
"""The same operations by the way that torch's modules call them, which takes microseconds less."""


class Draft:
    """The graph of the smaller network so far, and its tensors."""

    def __init__(self, analysis: Analysis, selection: Selection, device: torch.device) -> None:
        self.analysis, self.flat, self.selection, self.device = analysis, analysis.flat, selection, device
        self.graph, self.root = fx.Graph(), nn.Module()
        self.made: dict[fx.Node, fx.Node] = {self.flat.images: self.graph.placeholder("images")}
        """Nodes of the network -> those of the smaller one."""
        self.maps: dict[fx.Node, tuple[fx.Node, int]] = {}
        """Convolutions and linear maps of the network -> those of the smaller one, and how many outputs these have."""
        self.own_format: list[str] = []
        """Weights that must not be channels_last: see `placing`."""
        self.batch: fx.Node | None = None

    def call(self, target: Any, *args: Any, **kwargs: Any) -> fx.Node:
        """A new operation."""
        return self.graph.call_function(DIRECT.get(target, target), args, kwargs)

    def images(self) -> fx.Node:
        """The number of images."""
        if self.batch is None:
            self.batch = self.call(aten.sym_size.int, self.made[self.flat.images], 0)
        return self.batch

    def as_it_is(self, node: fx.Node) -> fx.Node:
        """An operation of the network on the same inputs."""
        args, kwargs = fx.map_arg((node.args, node.kwargs), self.tensor)
        return self.call(node.target, *args, **kwargs)

    def tensor(self, node: fx.Node) -> fx.Node:
        """A tensor of the network, as the smaller one has it."""
        if self.selection.is_fixed(node):
            fixed = self.hold(f"{node.name}_fixed", self.fixed(node))
            return self.call(torch.Tensor.repeat, fixed, self.images(), *[1] * (node.meta["val"].dim() - 1))
        if node not in self.made and node in self.flat.constants:
            value = self.flat.constants[node]
            self.made[node] = self.hold(self.flat.names[node], value, node in self.flat.parameters)
        return self.made[node]

    def fixed(self, node: fx.Node) -> torch.Tensor:
        """What stays of a tensor that is the same for every image, (1, ...)."""
        state = self.analysis.states[node]
        stays = self.selection.of(node).nonzero().flatten()
        return state.value.index_select(state.dim or 0, stays).to(node.meta["val"].dtype)

    def constant(self, node: fx.Node) -> torch.Tensor:
        """A tensor of the network that is made of parameters alone."""
        return self.flat.constants.get(node, self.analysis.states[node].value.to(node.meta["val"].dtype))

    def name(self, node: fx.Node) -> str:
        """What a tensor is called in the network."""
        return self.flat.names.get(node, node.name)

    def hold(self, name: str, value: torch.Tensor, parameter: bool = False, own_format: bool = False) -> fx.Node:
        """A node for a tensor of the smaller network's own, which is called after `name`."""
        name = own = name.replace(".", "_")
        count = 1
        while hasattr(self.root, own):
            count += 1
            own = f"{name}_{count}"
        if parameter:
            self.root.register_parameter(own, nn.Parameter(value.clone(), requires_grad=False))
        else:
            self.root.register_buffer(own, value.clone())
        if own_format:
            self.own_format.append(own)
        return self.graph.get_attr(own)

    def finish(self, keep: set[fx.Node]) -> fx.GraphModule:
        """The smaller network on its device, in channels_last as `placing.placed` has it, without what nothing uses
        but for the nodes to keep."""
        self.graph.output(self.tensor(self.flat.output))
        for node in reversed(list(self.graph.nodes)):
            if node.op in ("call_function", "get_attr") and not node.users and node not in keep:
                self.graph.erase_node(node)
        net = fx.GraphModule(self.root, self.graph).to(self.device).to(memory_format=torch.channels_last).eval()
        for name in self.own_format:
            if hasattr(net, name):
                weight = getattr(net, name)
                weight.data = weight.data.clone(memory_format=torch.contiguous_format)
        return net


def in_channels_last(net: fx.GraphModule) -> fx.GraphModule:
    """A copy of a finished network whose convolutions on small maps compute in channels_last too: `placing.placed` says
    where that is faster."""
    net = copy.deepcopy(net)
    for node in net.graph.find_nodes(op="call_function", target=torch.Tensor.contiguous):
        for convolution in node.users:
            weight = net.get_parameter(convolution.args[1].target)
            weight.data = weight.data.contiguous(memory_format=torch.channels_last)
        node.replace_all_uses_with(node.args[0])
        net.graph.erase_node(node)
    net.recompile()
    return net
