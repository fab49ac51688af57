"""What a network consists of, for people and for keys."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from orchestrator.engine.compact.flat import Flat, argument


def layer_names(flat: Flat, nodes: list[fx.Node]) -> dict[fx.Node, str]:
    """What convolutions and linear maps are called in the network; where one runs again, with a number."""
    names: dict[fx.Node, str] = {}
    for node in nodes:
        weight = argument(node, "weight")
        name = flat.names.get(weight, node.name).removesuffix(".weight")
        again = sum(own == name or own.startswith(f"{name} (") for own in names.values())
        names[node] = f"{name} ({again + 1})" if again else name
    return names


def structure(net: fx.GraphModule, images: torch.Tensor) -> list[Any]:
    """Each operation of a graph in order: its name, its arguments (of other nodes their places in the list) and the
    shape of what it gives for one image."""
    shapes = _Shapes(net)
    shapes.run(images)
    places = {node: place for place, node in enumerate(net.graph.nodes)}

    def plain(value: Any) -> Any:
        if isinstance(value, fx.Node):
            return f"%{places[value]}"
        if isinstance(value, tuple | list):
            return [plain(each) for each in value]
        return value if isinstance(value, int | float | bool | None) else str(value)

    return [
        [
            _operation(node),
            plain(node.args) if node.op != "get_attr" else [],
            plain(list(node.kwargs.items())),
            shapes.found[node],
        ]
        for node in net.graph.nodes
    ]


def _operation(node: fx.Node) -> str:
    if node.op != "call_function":
        return node.op
    return str(node.target) if hasattr(node.target, "_schema") else str(getattr(node.target, "__name__", node.target))


class _Shapes(fx.Interpreter):
    """Runs a graph and notes the shapes."""

    def __init__(self, net: fx.GraphModule) -> None:
        super().__init__(net)
        self.found: dict[fx.Node, Any] = {}

    def run_node(self, n: fx.Node) -> Any:
        value = super().run_node(n)
        self.found[n] = _shape(value)
        return value


def _shape(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return list(value.shape)
    return [_shape(each) for each in value] if isinstance(value, tuple | list) else None
