"""Where a spec names code of its author's: whoever runs the spec runs that code too."""

from __future__ import annotations

from orchestrator.spec.data import UserData
from orchestrator.spec.models import Spec

TORCHVISION = "torchvision.models:"
"""How the name of a torchvision network may begin; nothing else is imported then."""


def code_named(spec: Spec) -> list[str]:
    """Every `module:factory` that a spec names, each after its place, such as `model[1].name: mynets:lenet`. Methods,
    samplers and spaces are found by name among what is installed, and name no code."""
    found = [f"data.name: {spec.data.name}"] if isinstance(spec.data, UserData) else []
    for number, model in enumerate(spec.model):
        if is_code(model.name):
            found.append(f"model[{number}].name: {model.name}")
    return found


def is_code(network: str) -> bool:
    """Whether a network's name is a `module:factory`, which is imported."""
    return ":" in network and not network.startswith(TORCHVISION)
