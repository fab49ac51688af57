"""Every ticket type by name: the built-in ones and those that installed packages add.

A package adds methods through the entry point group `jackpot.methods`:

    [project.entry-points."jackpot.methods"]
    mine = "my_package.mine:Mine"
"""

from __future__ import annotations

import difflib
import importlib
from functools import cache
from importlib.metadata import entry_points

from methods.method import Method

GROUP = "jackpot.methods"

# Names, not classes: importing this module must not import every method, whose sources are hashed apart.
BUILT_IN = {
    "dense": "methods.dense:Dense",
    "random": "methods.random:Random",
    "snip": "methods.snip:Snip",
    "grasp": "methods.grasp:Grasp",
    "synflow": "methods.synflow:Synflow",
    "magnitude_init": "methods.magnitude_init:MagnitudeInit",
    "fisher": "methods.fisher:Fisher",
    "one_shot": "methods.lottery:OneShot",
    "lottery": "methods.lottery:Lottery",
    "lr_rewinding": "methods.rewinding:LrRewinding",
    "fine_tune": "methods.rewinding:FineTune",
    "hybrid": "methods.hybrid:Hybrid",
    "colt": "methods.colt:Colt",
    "static_sparse": "methods.static_sparse:StaticSparse",
    "gmp": "methods.gmp:Gmp",
    "granet": "methods.granet:Granet",
    "rigl": "methods.rigl:Rigl",
    "set": "methods.set:Set",
    "filter_prune": "methods.structure.filters:FilterPrune",
    "layer_prune": "methods.structure.layers:LayerPrune",
    "random_filter": "methods.structure.filters:RandomFilter",
    "random_layer": "methods.structure.layers:RandomLayer",
    "plasticity": "methods.plasticity:Plasticity",
    "transfer": "methods.transfer:Transfer",
}


class UnknownMethod(LookupError):
    """No method of that name; the message names the nearest and all there are."""


@cache
def _load_all() -> tuple[dict[str, type[Method]], dict[str, str]]:
    found = {name: _import(target) for name, target in BUILT_IN.items()}
    broken: dict[str, str] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        try:
            method = point.load()
            _check(point.name, method, found)
        except Exception as error:  # a broken plugin must not take the others down
            broken[f"{point.name} = {point.value}"] = f"{type(error).__name__}: {error}"
        else:
            found[point.name] = method
    return found, broken


def _import(target: str) -> type[Method]:
    module, name = target.split(":")
    return getattr(importlib.import_module(module), name)


def _check(name: str, method: object, found: dict[str, type[Method]]) -> None:
    if not (isinstance(method, type) and issubclass(method, Method)):
        raise TypeError("not a subclass of methods.method.Method")
    if name in found:
        raise ValueError(f"a method named {name!r} exists already ({found[name].__module__})")
    missing = [key for key in ("name", "ticket", "summary", "paper", "uses_data") if not hasattr(method, key)]
    if missing:
        raise TypeError(f"lacks {', '.join(missing)}")
    if method.name != name:
        raise ValueError(f"its class is named {method.name!r}")


def names() -> list[str]:
    """All methods: the built-in ones first, then the plugins' by name."""
    return list(_load_all()[0])


def get(name: str) -> type[Method]:
    """The method of that name. Raises UnknownMethod."""
    found, broken = _load_all()
    if name in found:
        return found[name]
    nearest = difflib.get_close_matches(name, found, n=1)
    message = f"unknown method {name!r}; " + (f"did you mean {nearest[0]!r}? " if nearest else "")
    message += f"known: {', '.join(found)}"
    for plugin, reason in broken.items():
        if plugin.startswith(f"{name} "):
            message += f" (the plugin {plugin} could not be loaded: {reason})"
    raise UnknownMethod(message)


def broken() -> dict[str, str]:
    """Plugins that could not be loaded: "name = target" -> why."""
    return dict(_load_all()[1])
