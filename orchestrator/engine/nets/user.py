"""A user's network, named `module:factory`."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

from torch import nn

from orchestrator.engine.nets.errors import ModelError


def find_factory(name: str) -> Callable[..., Any]:
    """What `module:factory` names. The module is looked for among the installed ones, then in the current
    folder. Raises ModelError saying which half of the name is wrong."""
    module_name, _, attribute = name.partition(":")
    if os.getcwd() not in sys.path:
        # last, so that a file of the user's folder never hides an installed module
        sys.path.append(os.getcwd())
    if not module_name or not attribute:
        raise ModelError((("name",), f"{name!r}: expected module:factory, e.g. mynets:lenet"))
    importlib.invalidate_caches()  # the file may be younger than the last look into its folder
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(error.name + ".")):
            raise ModelError((("name",), _not_found(name, error.name))) from error
        raise ModelError((("name",), f"{name!r}: module {module_name!r} {_raised(error)}")) from error
    except Exception as error:
        raise ModelError((("name",), f"{name!r}: module {module_name!r} {_raised(error)}")) from error
    factory = getattr(module, attribute, None)
    if factory is None:
        where = getattr(module, "__file__", None) or "built-in"
        callables = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        shown = ", ".join(sorted(callables)[:10]) or "nothing callable"
        raise ModelError(
            (("name",), f"{name!r}: module {module_name!r} ({where}) has no {attribute!r}; it has: {shown}")
        )
    if not callable(factory):
        raise ModelError(
            (
                ("name",),
                f"{name!r}: {attribute!r} is a {type(factory).__name__}; expected a function or class",
            )
        )
    return factory


def _not_found(name: str, module: str) -> str:
    return (
        f"{name!r}: no module {module!r} is installed or in the current folder; install it, or run "
        "jackpot from the folder that holds it"
    )


def _raised(error: BaseException) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"raised {type(error).__name__}: {error} ({place.filename}:{place.lineno})"


def call_factory(name: str, factory: Callable[..., Any], arguments: dict[str, Any]) -> nn.Module:
    """The network that the factory makes. Raises ModelError if it raises or makes something else."""
    try:
        net = factory(**arguments)
    except Exception as error:
        raise ModelError((("name",), f"{name!r} {_raised(error)}")) from error
    if not isinstance(net, nn.Module):
        raise ModelError((("name",), f"{name!r} returned a {type(net).__name__}; expected a torch.nn.Module"))
    return net
