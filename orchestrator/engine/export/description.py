"""What a program without Jackpot has to know of an exported network."""

from __future__ import annotations

from typing import Any

from torch import nn

from orchestrator.engine.ticket import LoadedTicket


def describe(ticket: LoadedTicket, dense: nn.Module, net: nn.Module) -> dict[str, Any]:
    """The ticket's structure (network, input, classes), with `layers`: name, kind, shape of the weight (or null) and
    configuration of every module that computes something, in module order; and `identity`: the names of the modules
    of the dense network that the ticket has none of, in whose place stands the identity."""
    before = dict(dense.named_modules())
    layers = [
        {"name": name, "kind": type(module).__name__, "shape": _shape(module), "config": module.extra_repr()}
        for name, module in net.named_modules()
        if not any(True for _ in module.children()) or any(True for _ in module.parameters(recurse=False))
    ]
    identity = [
        name
        for name, module in net.named_modules()
        if isinstance(module, nn.Identity) and not isinstance(before.get(name), nn.Identity)
    ]
    return {**ticket.structure, "layers": layers, "identity": identity}


def _shape(module: nn.Module) -> list[int] | None:
    weight = dict(module.named_parameters(recurse=False)).get("weight")
    return None if weight is None else list(weight.shape)
