"""Weights to start from: a file, or torchvision's by name."""

from __future__ import annotations

import difflib
import pickle
from pathlib import Path

import torch
from torch import nn

from orchestrator.engine.files import digest, file_digest
from orchestrator.engine.nets import vision
from orchestrator.engine.nets.errors import ModelError, Problem

FILES = (".safetensors", ".pt", ".pth")
SHOWN = 5
AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
"""How the names of the Inceptions' auxiliary classifiers begin."""


def load_weights(net: nn.Module, weights: str) -> None:
    """Load `weights` into the network: a .safetensors file, a .pt or .pth file (a state_dict, or one under
    "state_dict"; loaded without running code), or the name of torchvision weights.
    Raises ModelError if they cannot be read, or list every name and shape that does not fit."""
    state = _wanted(net, _read(weights))
    if problem := _mismatch(net.state_dict(), state):
        raise _error(f"{weights}: does not fit the network: {problem}")
    net.load_state_dict(state)


def weights_fingerprint(weights: str) -> str:
    """SHA-256 of a file's bytes; of torchvision weights, of their name and address, which holds a hash of the
    content, so that nothing is downloaded. Raises ModelError if there are no such weights."""
    if is_file(weights):
        try:
            return file_digest(Path(weights))
        except OSError as error:
            raise _error(
                f"{weights}: cannot be read ({error.strerror}); a relative path starts at the current folder"
            ) from error
    known = _torchvision(weights)
    return digest({"weights": str(known), "url": known.url})


def weights_problems(net: nn.Module, weights: str) -> list[Problem]:
    """What is wrong with `weights` for a network (which may be on the meta device). Nothing is downloaded:
    torchvision's weights have the shapes of torchvision's network of their name."""
    try:
        state = _read(weights) if is_file(weights) else _shapes(weights)
        if problem := _mismatch(net.state_dict(), _wanted(net, state)):
            raise _error(f"{weights}: does not fit the network: {problem}")
    except ModelError as error:
        return error.problems
    return []


def is_file(weights: str) -> bool:
    """Whether `weights` names a file, rather than torchvision's weights."""
    return weights.lower().endswith(FILES)


def _error(message: str) -> ModelError:
    return ModelError((("weights",), message))


def _shapes(weights: str) -> dict[str, torch.Tensor]:
    """torchvision's weights without their values: the network of that name as it was for them."""
    from torchvision import models

    known = _torchvision(weights)
    for own in vision.names():
        if isinstance(known, models.get_model_weights(own)):
            classes, sides = len(known.meta["categories"]), known.meta["min_size"]
            return dict(vision.skeleton(own, classes, (3, *sides), {}).state_dict())
    raise _error(f"{weights}: are weights of no classification network")


def _wanted(net: nn.Module, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The weights without those of auxiliary classifiers, where the network is one of torchvision's Inceptions."""
    if getattr(net, "aux_logits", None) is not False:
        return state
    return {name: value for name, value in state.items() if not name.startswith(AUXILIARY)}


def _read(weights: str) -> dict[str, torch.Tensor]:
    if not is_file(weights):
        known = _torchvision(weights)
        try:
            return dict(known.get_state_dict(progress=False, check_hash=True, weights_only=True))
        except pickle.UnpicklingError as error:
            raise _error(
                f"{weights}: is damaged, or holds more than tensors; remove it from torch's folder of downloads "
                "(TORCH_HOME, or ~/.cache/torch) and try again"
            ) from error
    weights_fingerprint(weights)  # says it well if there is no such file
    if weights.lower().endswith(".safetensors"):
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            return load_file(weights)
        except SafetensorError as error:
            raise _error(f"{weights}: not a safetensors file ({error})") from error
    try:
        content = torch.load(weights, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        # torch's own words advise to load it unsafely
        raise _error(
            f"{weights}: is damaged, or holds more than tensors; save the network's state_dict() with torch.save"
        ) from error
    state = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise _error(f"{weights}: holds no state_dict; save the network's state_dict() with torch.save")
    return dict(state)


def _torchvision(weights: str):  # type: ignore[no-untyped-def]  # torchvision has no types
    from torchvision import models

    try:
        return models.get_weight(weights)
    except (ValueError, KeyError, AttributeError) as error:
        names = [str(each) for model in models.list_models() for each in models.get_model_weights(model)]
        close = difflib.get_close_matches(weights, names, n=1)
        meant = f"; did you mean {close[0]!r}?" if close else ";"
        raise _error(
            f"unknown weights {weights!r}{meant} expected a {', '.join(FILES)} file or the "
            "name of torchvision weights, e.g. ResNet18_Weights.IMAGENET1K_V1"
        ) from error


def _mismatch(wanted: dict[str, torch.Tensor], given: dict[str, torch.Tensor]) -> str:
    """Which names are missing, unexpected or of another shape; empty where all fits."""
    shapes = [
        f"{name} {tuple(given[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in wanted
        if name in given and given[name].shape != wanted[name].shape
    ]
    kinds = {
        "missing": [name for name in wanted if name not in given],
        "unexpected": [name for name in given if name not in wanted],
        "other shapes": shapes,
    }
    listed = "; ".join(f"{len(names)} {kind}: {_listed(names)}" for kind, names in kinds.items() if names)
    differing = {name: (given[name].shape, wanted[name].shape) for name in wanted if name in given}
    return listed + ("" if kinds["missing"] or kinds["unexpected"] else _other_classes(differing))


def _other_classes(shapes: dict[str, tuple[torch.Size, torch.Size]]) -> str:
    """A remedy where all that differs are the outputs of one layer."""
    differing = {name: pair for name, pair in shapes.items() if pair[0] != pair[1]}
    modules = {name.rpartition(".")[0] for name in differing}
    outputs = {(there[:1], here[:1]) for there, here in differing.values()}
    inputs_fit = all(there[1:] == here[1:] for there, here in differing.values())
    if not (len(modules) == len(outputs) == 1 and inputs_fit):
        return ""
    ((there, here),) = outputs
    return (
        f" (a classifier for {there[0]} classes, and the data has {here[0]}; none is replaced, for `weights` stand for "
        "the trained dense network: give weights for these classes, or leave `weights` out)"
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
