"""The trials of a search for layer-wise ratios: proposals, the formulas tried first, and the finalists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from fnmatch import fnmatch
from functools import cached_property
from math import ceil, floor
from pathlib import Path
from typing import Any

from methods import budget, registry
from methods.layers import Layer
from methods.method import Method
from methods.ratio_file import read_ratios
from methods.ratios import RATIOS, given_counts, layer_counts
from orchestrator.engine.files import digest
from orchestrator.engine.planning import PlanningBench
from orchestrator.engine.setting import Setting
from orchestrator.engine.source import source_hash
from orchestrator.engine.trials import Trial
from orchestrator.spec.arms import Arm, expand
from orchestrator.spec.method import Method as MethodEntry
from search_spaces import registry as spaces
from search_spaces.space import Inexpressible, Space

OF_THE_NETWORK = ("lamp", "magnitude")
"""Layer-wise ratios that the trained network says: known once their trial has ended."""


@dataclass(frozen=True)
class WarmStart:
    """A ratio that is tried before the sampler's."""

    source: str
    """The formula's name, or where the ratios come from."""
    options: Mapping[str, Any]
    """What chooses it, of the method."""
    sparsity: Decimal


class Ground:
    """What a spec's search is about on its network: the layers, the budget, the space. Raises ValueError, at the first
    use of what is wrong."""

    def __init__(self, setting: Setting) -> None:
        assert setting.spec.search is not None
        self.setting, self.search = setting, setting.spec.search

    @cached_property
    def definition(self) -> str:
        """What a search is, so that decisions of another one are told apart: all that its proposals depend on. More
        trials, other finalists, more time: the same search goes on."""
        said = self.search.model_dump(mode="json", exclude={"trials", "finalists", "max_hours", "warm_starts"})
        started = [[dict(start.options), str(start.sparsity)] for start in self.warm_starts]
        source = source_hash(self.method.__module__)
        return digest([said, started, source, self.setting.key, self.setting.recipe, self.setting.latency])

    @cached_property
    def method(self) -> type[Method]:
        """The class of the method whose ratios are searched."""
        return registry.get(self.search.method.name)

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """What a ratio is searched for."""
        bench = PlanningBench(self.setting, self.method, self.search.seed, self.search.sparsity[0])
        return self.method(**self.arm({}).options).searched(bench)

    @cached_property
    def formulas(self) -> dict[str, dict[str, Any]]:
        """The method's known ratios that there are at this budget: smart's classifier may be over it alone."""
        return {name: options for name, options in self.method.formulas.items() if self._fits(name)}

    def _fits(self, name: str) -> bool:
        if name in RATIOS and self.exact:
            try:
                self.formula(name, self.search.sparsity[-1])
            except ValueError:
                return False
        return True

    @property
    def exact(self) -> bool:
        """Whether the method keeps so many weights of each layer; else the ratios are proportions of filters."""
        return self.method.meets_budget

    def kept(self, sparsity: Decimal) -> int:
        """Weights that a ticket keeps."""
        return budget.kept(budget.total(self.layers), sparsity)

    def bounds(self, keep: int) -> tuple[list[int], list[int]]:
        """The least and the most weights of each layer. Raises ValueError where they cannot meet the budget."""
        one = 1 if keep >= len(self.layers) else 0
        low, high = [], []
        for layer in self.layers:
            given = [pair for pattern, pair in self.search.bounds.items() if fnmatch(layer.name, pattern)]
            least, most = max([0.0, *(own for own, _ in given)]), min([1.0, *(own for _, own in given)])
            if least > most:
                raise ValueError(
                    f"{layer.name} is to keep at least {least:g} and at most {most:g}; mend one of its bounds"
                )
            if one and not most:
                raise ValueError(f"{layer.name} is to keep nothing, and a weight stays in each layer; set it above 0")
            low.append(max(one, ceil(Decimal(str(least)) * layer.weights)))
            high.append(max(low[-1], floor(Decimal(str(most)) * layer.weights)))  # the range may hold no whole number
        if not sum(low) <= keep <= sum(high):
            total = budget.total(self.layers)
            raise ValueError(
                f"the layers may keep {sum(low):,} to {sum(high):,} of {total:,} weights, which are sparsities from "
                f"{1 - sum(high) / total:.6g} to {1 - sum(low) / total:.6g}, and {keep:,} are to be kept; widen the "
                "bounds or change the sparsity"
            )
        return low, high

    def space(self, profiles: Mapping[str, Sequence[int]] | None = None) -> Space:
        """The space. `profiles`: what the ratios that the network says keep in each layer. Raises ValueError."""
        return spaces.get(self.search.space.name)(
            self.layers, self.setting.residual, profiles, **self.search.space.options
        )

    def coordinates(self, space: Space) -> dict[str, tuple[float, float]]:
        """The coordinates of a proposal: the space's, and the sparsity where it is a range."""
        found = dict(space.coordinates)
        if len(self.search.sparsity) == 2:
            found["sparsity"] = (float(self.search.sparsity[0]), float(self.search.sparsity[1]))
        return found

    def sparsity_of(self, point: Mapping[str, float]) -> Decimal:
        """The budget of a proposal, to a hundredth of a percent."""
        if len(self.search.sparsity) == 1:
            return self.search.sparsity[0]
        least, most = self.search.sparsity
        return min(max(Decimal(f"{point['sparsity']:.4f}"), least), most)

    def ratios(self, space: Space, point: Mapping[str, float]) -> dict[str, float]:
        """The keep ratio of every layer at a point: exactly the budget, or proportions whose largest is 1."""
        keep = self.kept(self.sparsity_of(point))
        if self.exact:
            counts = space.counts(point, keep, *self.bounds(keep))
            return {layer.name: count / layer.weights for layer, count in zip(self.layers, counts, strict=True)}
        shares = [float(own) / each.weights for own, each in zip(space.wanted(point, keep), self.layers, strict=True)]
        return {layer.name: share / max(shares) for layer, share in zip(self.layers, shares, strict=True)}

    def point(self, space: Space, counts: Sequence[int], sparsity: Decimal) -> dict[str, float]:
        """The point of the space at which the layers keep these counts. Raises Inexpressible."""
        found = space.point(counts, self.kept(sparsity))
        if self.exact:
            low, high = self.bounds(self.kept(sparsity))
            for layer, count, least, most in zip(self.layers, counts, low, high, strict=True):
                if not least - 1 <= count <= most:
                    raise Inexpressible(
                        f"it keeps {count} weights of {layer.name}, and the bounds say {least} to {most}"
                    )
        return found | ({"sparsity": float(sparsity)} if len(self.search.sparsity) == 2 else {})

    # Warm starts

    @cached_property
    def warm_starts(self) -> list[WarmStart]:
        """What is tried first, at the budget or at both ends of its range. Raises ValueError for one that the method
        or the space cannot express."""
        named = self.search.warm_starts
        if named is not None and (left_out := [name for name in self.profiles if name not in named]):
            raise ValueError(
                f"the space {self.search.space.name} is made from {left_out[0]}, which is not among the warm_starts; "
                "add it there, or leave it out of the space's `of`"
            )
        found: list[WarmStart] = []
        for sparsity in self.search.sparsity:
            for source in self.formulas if named is None else named:
                try:
                    for start in self._warm_start(source, sparsity):
                        found += [start] if self._is_new(start, found) else []
                except Inexpressible as error:
                    if named is not None:
                        raise ValueError(f"{source}: {error}") from error
        return found

    def _is_new(self, start: WarmStart, others: Sequence[WarmStart]) -> bool:
        """Whether no other keeps the same in each layer; best.json of two objectives is one of the Pareto set."""
        if "ratios" not in start.options:
            return True
        known = [self.counts_of(each) for each in others if each.sparsity == start.sparsity]
        return self.counts_of(start) not in known

    def _warm_start(self, source: str, sparsity: Decimal) -> list[WarmStart]:
        if source in self.method.formulas:
            self._expressible(source, sparsity)
            return [WarmStart(source, self.method.formulas[source], sparsity)]
        path = Path(source).expanduser()
        files = sorted(path.glob("ratios/*.json")) if path.is_dir() else [path]
        if not path.exists() or not files:
            raise ValueError(
                f"{source!r} is no formula of {self.method.name}, no file of ratios and no folder of a sweep with a "
                f"search; formulas: {', '.join(self.method.formulas)}"
            )
        return [WarmStart(str(file), {"ratios": self._fitted(file, sparsity)}, sparsity) for file in files]

    def _fitted(self, file: Path, sparsity: Decimal) -> dict[str, float]:
        """A file's ratios, for this network and this budget."""
        ratios = read_ratios(str(file))
        if not self.exact:
            return {name: float(ratio) for name, ratio in ratios.items()}
        counts = given_counts(ratios, self.layers, sparsity)
        self.point(self.space(self.stand_ins), counts, sparsity)
        return {layer.name: count / layer.weights for layer, count in zip(self.layers, counts, strict=True)}

    def _expressible(self, source: str, sparsity: Decimal) -> None:
        """Raise Inexpressible where the space does not hold a formula."""
        space = self.space(self.stand_ins)
        if source in OF_THE_NETWORK:
            if self.exact and space.name != "free" and source not in space.needs:
                raise Inexpressible(
                    f"is said by the trained network, which the space {space.name} does not follow; the spaces free "
                    f"and mixture do (of: [..., {source}])"
                )
        elif source in RATIOS:
            self.point(space, self.formula(source, sparsity), sparsity)

    @cached_property
    def stand_ins(self) -> dict[str, list[int]]:
        """In place of what the trained network will say: enough to look at a space."""
        counts = self.formula("uniform", self.search.sparsity[0])
        return {name: counts for name in OF_THE_NETWORK if name in self.method.formulas}

    def formula(self, name: str, sparsity: Decimal) -> list[int]:
        """What a closed form keeps in each layer."""
        return layer_counts(name, self.layers, sparsity, residual=self.setting.residual)

    def counts_of(self, start: WarmStart) -> list[int] | None:
        """What a warm start keeps in each layer; None where the trained network will say it."""
        if "ratios" in start.options:
            return [round(start.options["ratios"][layer.name] * layer.weights) for layer in self.layers]
        return self.formula(start.source, start.sparsity) if start.source in RATIOS else None

    @cached_property
    def profiles(self) -> tuple[str, ...]:
        """The ratios of the trained network that the space is made from, and so must be known before any proposal."""
        return tuple(name for name in self.space(self.stand_ins).needs)

    # Trials

    def arm(self, options: Mapping[str, Any], label: str | None = None) -> Arm:
        """The method with its own options and these."""
        (arm,) = expand(MethodEntry.model_validate({"name": self.method.name, **self.search.method.options, **options}))
        return arm if label is None else replace(arm, label=label)

    def proposal(self, number: int, options: Mapping[str, Any], sparsity: Decimal) -> Trial:
        """The trial of a proposal, on the next of the search's training seeds."""
        arm = self.arm(options, f"{self.method.name}-search{number}")
        seed = self.search.seed + number % self.search.seeds
        return Trial(self.setting.model, arm, sparsity, seed, search=number)

    def formula_trials(self, name: str, sparsities: Sequence[Decimal]) -> list[Trial]:
        """A formula on the finalists' seeds: what the finalists are judged by."""
        arm = self.arm(self.method.formulas[name])
        seeds = self.search.finalists.seeds
        return [Trial(self.setting.model, arm, sparsity, seed) for sparsity in sparsities for seed in seeds]

    def finalist(self, place: int, options: Mapping[str, Any], sparsity: Decimal) -> list[Trial]:
        """A searched ratio on the finalists' seeds; `place` 1 is the best."""
        arm = self.arm(options, f"{self.method.name}-searched{place}")
        return [Trial(self.setting.model, arm, sparsity, seed) for seed in self.search.finalists.seeds]

    def first_trials(self) -> list[Trial]:
        """The trials that are known before anything has run: warm starts, and formulas at a fixed budget."""
        tried = [
            self.proposal(number, start.options, start.sparsity)
            for number, start in enumerate(self.warm_starts[: self.search.trials])
        ]
        fixed = self.search.sparsity if len(self.search.sparsity) == 1 and self.search.finalists.best != 0 else []
        return tried + [trial for name in self.formulas for trial in self.formula_trials(name, fixed)]
