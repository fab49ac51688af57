"""One network on one data set under one recipe: what all trials of a model share."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from functools import cached_property
from typing import Any

import numpy as np
from pydantic import ValidationError
from torch import nn

from methods.bench import DataView, Tensors
from methods.layers import Layer, is_residual, prunable_layers
from orchestrator.engine.data import DataSet, load_data
from orchestrator.engine.data.views import viewed
from orchestrator.engine.files import digest
from orchestrator.engine.macs import Macs, macs
from orchestrator.engine.nets import canonical, skeleton, source_of, weights_fingerprint
from orchestrator.engine.nets.fitted import fitted
from orchestrator.engine.train import steps_per_epoch
from orchestrator.spec.models import Model, Recipe, Spec

STAGE_VERSION = 4
"""Raised whenever a change of the engine changes what a stage computes: stages made before are not read again."""


class Setting:
    """The part of a trial that its method, sparsity and seed leave alone. Builds nothing until it is asked."""

    def __init__(self, spec: Spec, model: Model) -> None:
        self.spec, self.model = spec, model
        self._others: dict[str, Setting] = {}
        self.examined: dict[str, Any] = {}
        """What methods found out about the network's structure."""

    def on(self, view: DataView | None, seed: int, recipe: Mapping[str, Any] | None) -> Setting:
        """This setting on a view of its data drawn from a trial's seed, or with some keys of the recipe changed.
        Raises ValueError where the data do not allow the view, or the recipe is none."""
        named = digest([asdict(view) if view else None, seed, recipe])
        if named not in self._others:
            spec = self.spec.model_copy(update={"recipe": _changed(self.recipe, recipe)}) if recipe else self.spec
            other = Setting(spec, self.model)
            # what is known of this one holds there too
            other.__dict__["data"] = viewed(self.data, view, seed) if view else self.data
            if self.model.weights and len(other.data.classes) != len(self.data.classes):
                raise ValueError(
                    f"`weights: {self.model.weights}` are of all {len(self.data.classes)} classes, and its copies have "
                    "fewer classes; leave `weights` out"
                )
            if len(other.data.classes) == len(self.data.classes):
                other.__dict__ |= {"skeleton": self.skeleton, "layers": self.layers, "macs": self.macs}
            self._others[named] = other
        return self._others[named]

    @cached_property
    def data(self) -> DataSet:
        """The data set. Raises DataError."""
        return load_data(self.spec.data)

    @cached_property
    def skeleton(self) -> nn.Module:
        """The network without values (on the meta device). Raises ModelError."""
        return skeleton(self.model, len(self.data.classes), self.data.shape)

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """Prunable layers in module order."""
        return prunable_layers(self.skeleton, self.spec.prunable.exclude)

    @cached_property
    def macs(self) -> Macs:
        """Multiply-accumulates of the dense network for one image."""
        return macs(self.skeleton, self.data.shape, self.layers)

    def macs_of(self, weights: Tensors) -> Macs:
        """Multiply-accumulates for one image of the network in these weights' shapes."""
        if all(layer.parameter in weights and weights[layer.parameter].shape == layer.shape for layer in self.layers):
            return self.macs
        net = fitted(self.skeleton, weights)
        layers = (layer for layer in self.layers if layer.parameter in weights)
        return macs(
            net, self.data.shape, [Layer(layer.name, tuple(weights[layer.parameter].shape)) for layer in layers]
        )

    @cached_property
    def smallest_class(self) -> int:
        """Training images of the class that has the fewest."""
        return int(np.bincount(self.data.train.labels, minlength=len(self.data.classes)).min())

    @property
    def residual(self) -> bool | None:
        """Whether the network says that it has residual connections; None where it says nothing."""
        return is_residual(self.skeleton)

    @property
    def per_epoch(self) -> int:
        """Optimiser steps of one epoch."""
        return steps_per_epoch(len(self.data.train.labels), self.spec.recipe.batch)

    @property
    def total_steps(self) -> int:
        """Optimiser steps of the whole schedule."""
        return self.spec.recipe.epochs * self.per_epoch

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What every key of this setting covers: engine version, data content, network."""
        return {
            "version": STAGE_VERSION,
            "data": self.data.fingerprint,
            "model": {
                "name": canonical(self.model.name),
                "options": self.model.options,
                "source": source_of(self.model),
            },
            "weights": weights_fingerprint(self.model.weights) if self.model.weights else None,
            "exclude": list(self.spec.prunable.exclude),
        }

    @cached_property
    def key(self) -> str:
        """Hash of `identity`."""
        return digest(self.identity)

    @cached_property
    def recipe(self) -> dict[str, Any]:
        """The recipe as every training key covers it."""
        return self.spec.recipe.model_dump(mode="json")

    @cached_property
    def latency(self) -> dict[str, Any]:
        """How latencies are measured, as their keys cover it."""
        return self.spec.latency.model_dump(mode="json", exclude={"enabled"})


def _changed(recipe: Mapping[str, Any], changes: Mapping[str, Any]) -> Recipe:
    if "batch" in changes:
        raise ValueError("recipe: a method may not change the batch, in which epochs and their cost are counted")
    try:
        return Recipe.model_validate_json(json.dumps({**recipe, **changes}), strict=True)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors())
        raise ValueError(f"a method changes the recipe to {dict(changes)}, which is none: {wrong}") from error
