"""The trials of a spec, by their ids."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from methods import registry
from methods.method import Method
from orchestrator.spec.arms import Arm, arms
from orchestrator.spec.models import Model, Spec
from orchestrator.spec.problems import SpecError


@dataclass(frozen=True)
class Trial:
    """One method, sparsity and seed on one network."""

    model: Model
    arm: Arm
    sparsity: Decimal
    """0 for a method that has one trial whatever the sparsities."""
    seed: int
    search: int | None = None
    """Its number among the proposals of a search, if it is one: test images are not looked at then."""

    @property
    def tested(self) -> bool:
        """Whether its ticket is evaluated on the test set."""
        return self.search is None

    @property
    def id(self) -> str:
        """Its name in the sweep's folder and in MLflow: network, method, sparsity in percent, seed."""
        percent = f"{(self.sparsity * 100).normalize():f}"
        parts = [
            model_label(self.model),
            self.arm.label,
            *([f"s{percent}"] if self.sparsity else []),
            f"seed{self.seed}",
        ]
        return "_".join(parts)

    def to_json(self) -> dict[str, Any]:
        """All of it as JSON, for a worker."""
        return {
            "model": self.model.model_dump(mode="json"),
            "arm": asdict(self.arm),
            "sparsity": str(self.sparsity),
            "seed": self.seed,
            "search": self.search,
        }

    @classmethod
    def from_json(cls, said: Mapping[str, Any]) -> Trial:
        """What `to_json` said."""
        model, arm = Model.model_validate(said["model"]), Arm(**said["arm"])
        return cls(model, arm, Decimal(said["sparsity"]), said["seed"], said["search"])

    @property
    def method(self) -> Method:
        """The method, ready to find the ticket."""
        return self.method_class(**self.arm.options)

    @property
    def method_class(self) -> type[Method]:
        """The class of the method."""
        return registry.get(self.arm.name)


def model_label(model: Model) -> str:
    """A network's name with its options, fit for a folder's name: resnet32-width2. Of a weights file the name
    without its folder, so that a trial is called the same wherever the file lies."""
    options = "".join(f"-{key}{value}" for key, value in model.options.items())
    weights = f"-{Path(model.weights).stem}" if model.weights else ""
    return re.sub(r"[^A-Za-z0-9._=-]+", "_", model.name + options + weights)


def sparsities(spec: Spec, arm: Arm) -> list[Decimal]:
    """The sparsities at which a method is tried: the spec's, unless it has one of its own. Raises SpecError where it
    cannot tell."""
    try:
        return registry.get(arm.name)(**arm.options).sparsities(spec.sparsities)
    except ValueError as error:
        raise SpecError([f"{arm.label}: {error}"]) from error


def trials(spec: Spec) -> list[Trial]:
    """Every trial of a spec, in the order written: model, method, sparsity, seed."""
    found = [
        Trial(model, arm, sparsity, seed)
        for model in spec.model
        for arm in arms(spec)
        for sparsity in sparsities(spec, arm)
        for seed in spec.seeds
    ]
    repeated = [name for name, count in Counter(trial.id for trial in found).items() if count > 1]
    if repeated:
        raise SpecError([f"two trials would both be called {repeated[0]!r}; rename or remove one of the networks"])
    return found
