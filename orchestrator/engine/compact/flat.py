"""A network's operations in a row, without side effects that matter: what the analysis and the builder read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import fx

from orchestrator.engine.compact.errors import CompactError

DROPOUTS = ("dropout", "feature_dropout", "alpha_dropout", "feature_alpha_dropout")


@dataclass
class Flat:
    """The operations of an exported program. Every use of a tensor names the node that last wrote it."""

    graph: fx.Graph
    images: fx.Node
    output: fx.Node
    """The node whose value the network gives."""
    constants: dict[fx.Node, torch.Tensor]
    """Parameters, buffers and other fixed tensors."""
    names: dict[fx.Node, str]
    """Their names in the network."""
    parameters: set[fx.Node]
    """Which of them are parameters."""
    batch: Any
    """The symbol for the number of images."""
    aliased: set[fx.Node] = field(default_factory=set)
    """Tensors whose memory is written under one name and read under another: nothing is known of them."""

    def batched(self, node: fx.Node) -> bool:
        """Whether the first dimension is the image, and no other depends on how many there are."""
        first, *rest = node.meta["val"].shape
        return _expression(first) == self.batch and all(isinstance(size, int) for size in rest)

    def shape(self, node: fx.Node) -> list[int]:
        """The tensor's shape for one image."""
        return [self.size(size) for size in node.meta["val"].shape]

    def size(self, size: Any) -> int:
        """What a size is for one image."""
        expression = _expression(size)
        return int(expression) if isinstance(expression, int) else int(expression.subs({self.batch: 1}))

    def is_batch(self, size: Any) -> bool:
        """Whether a size is the number of images."""
        return bool(_expression(size) == self.batch)


def flat(program: torch.export.ExportedProgram, name: str) -> Flat:
    """The operations of a program that takes one tensor of images and gives one tensor; the program's own graph is
    changed. Raises CompactError for another program, naming the network `name`."""
    signature, graph = program.graph_signature, program.graph
    held = {**program.state_dict, **program.constants}
    owners = {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }
    places = {node.name: node for node in graph.nodes if node.op == "placeholder"}
    found = graph.output_node().args[0]
    outputs = found if isinstance(found, tuple | list) else (found,)
    if len(outputs) != 1 or not isinstance(outputs[0], fx.Node) or outputs[0].op == "placeholder":
        raise CompactError(name, "it gives other than one tensor of logits")
    if odd := [node for node in graph.nodes if node.op not in ("placeholder", "call_function", "output")]:
        raise CompactError(name, f"its program has a step {odd[0].name!r} that is no plain operation")
    images = places[signature.user_inputs[0]]
    found_flat = Flat(
        graph,
        images,
        outputs[0],
        {places[key]: held[owner].detach() for key, owner in owners.items()},
        {places[key]: owner for key, owner in owners.items()},
        {places[key] for key in signature.inputs_to_parameters},
        _expression(images.meta["val"].shape[0]),
    )
    _without_dropout(graph)
    _latest_names(found_flat)
    (found_flat.output,) = _nodes(graph.output_node().args)
    return found_flat


def operation(node: fx.Node) -> str:
    """The name of a node's operation, without namespace, overload and the mark of working in place."""
    schema = getattr(node.target, "_schema", None)
    name = schema.name.split("::")[1] if schema is not None else str(getattr(node.target, "__name__", node.target))
    return name.removesuffix("_") if is_in_place(node) else name


def is_in_place(node: fx.Node) -> bool:
    """Whether a node writes into its first argument."""
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable


def argument(node: fx.Node, name: str, default: Any = None) -> Any:
    """An argument of a node's operation by its name in the schema."""
    if name in node.kwargs:
        return node.kwargs[name]
    for position, each in enumerate(node.target._schema.arguments):  # type: ignore[union-attr]
        if each.name == name:
            if position < len(node.args):
                return node.args[position]
            return each.default_value if each.has_default_value() else default
    return default


def _expression(size: Any) -> Any:
    return size.node.expr if isinstance(size, torch.SymInt) else size


def _nodes(value: Any) -> list[fx.Node]:
    found: list[fx.Node] = []
    fx.map_arg(value, found.append)
    return found


def _without_dropout(graph: fx.Graph) -> None:
    """In eval mode it passes on what it gets."""
    for node in list(graph.nodes):
        if node.op == "call_function" and operation(node) in DROPOUTS and argument(node, "train") is False:
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)


def _latest_names(found: Flat) -> None:
    """After an operation that works in place, use its own node for what it wrote. Where the same memory goes on being
    read under another name (a view made before), all of its names count as aliased."""
    place = {node: position for position, node in enumerate(found.graph.nodes)}
    base: dict[fx.Node, fx.Node] = {}
    sharing: dict[fx.Node, list[fx.Node]] = {}
    aliased: set[fx.Node] = set()
    for node in found.graph.nodes:
        base[node] = _shared_with(node, base)
        sharing.setdefault(base[node], []).append(node)
        if node.op != "call_function" or not is_in_place(node):
            continue
        written = node.args[0]

        def later(user: fx.Node, node: fx.Node = node) -> bool:
            return place[user] > place[node]

        written.replace_all_uses_with(node, later)
        others = [each for each in sharing[base[node]] if each is not node and any(map(later, each.users))]
        if others or base[node] in found.constants:
            aliased.add(base[node])
    found.aliased = {node for node, own in base.items() if own in aliased}


def _shared_with(node: fx.Node, base: dict[fx.Node, fx.Node]) -> fx.Node:
    """The node whose memory a node's value may lie in."""
    if node.op != "call_function" or not node.args or not isinstance(node.args[0], fx.Node):
        return node
    schema = getattr(node.target, "_schema", None)
    shares = any(each.alias_info is not None for each in schema.returns) if schema else operation(node) == "getitem"
    return base[node.args[0]] if shares else node
