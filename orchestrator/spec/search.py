"""The section `search`: what layer-wise ratios are searched for, how, and how the winners are judged."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from methods.step import Step
from orchestrator.spec.method import Method
from orchestrator.spec.problems import nearest
from orchestrator.spec.section import Named, Scalar, Section, Sparsity, Written, as_list, each_once

UP = ("accuracy/val", "sparsity/global", "compression_ratio", "macs/speedup")
DOWN = ("loss/val", "macs", "size/sparse_mb", "size/compressed_mb")
MEASURED_UP, MEASURED_DOWN = ("latency/speedup/b",), ("latency/ms/b", "memory/peak_mb/b")
"""Metrics whose names end with a batch size."""


class Objective(Section):
    """One metric that the search makes as large or as small as it can."""

    metric: str
    """accuracy/val, loss/val, macs, macs/speedup, sparsity/global, compression_ratio, size/sparse_mb,
    size/compressed_mb, latency/ms/bN, latency/speedup/bN or memory/peak_mb/bN."""
    goal: Literal["max", "min"] | None = None
    """Default: what is good of the metric."""

    @field_validator("metric")
    @classmethod
    def _known(cls, value: str) -> str:
        if value in ("accuracy/test", "loss/test"):
            raise ValueError(
                f"{value} must not steer a search: test is evaluated once, on the finalists; use "
                f"{value.replace('test', 'val')}"
            )
        stem = value.rstrip("0123456789")
        if value not in UP + DOWN and not (stem != value and stem in MEASURED_UP + MEASURED_DOWN):
            known = ", ".join([*UP, *DOWN, *(f"{name}N" for name in MEASURED_UP + MEASURED_DOWN)])
            near = nearest(value, [*UP, *DOWN])
            raise ValueError(f"unknown metric {value!r}{near} known: {known} (N: images of a batch)")
        return value

    @property
    def up(self) -> bool:
        """Whether more is better."""
        if self.goal is not None:
            return self.goal == "max"
        return self.metric in UP or self.metric.startswith(MEASURED_UP)

    @property
    def batch(self) -> int | None:
        """The batch size that the metric is measured at, if it is measured."""
        stem = self.metric.rstrip("0123456789")
        return int(self.metric[len(stem) :]) if stem in MEASURED_UP + MEASURED_DOWN else None


class Chosen(BaseModel):
    """Something by name; further keys are its options."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, Scalar | list[Scalar]] = {}

    name: str = Field(min_length=1)

    @property
    def options(self) -> dict[str, Any]:
        """Options as written."""
        return dict(self.__pydantic_extra__ or {})


class Fidelity(Section):
    """Cheap measurements before dear ones: a trial that is behind the others at a rung is stopped there (Ray's
    ASHA). What is stopped depends on which trial is quicker, so such a search does not repeat to the digit."""

    rungs: Annotated[tuple[Step, ...], Written] = Field(default=(Step(Decimal(0), "ep"),), min_length=1)
    """Steps of the ticket's training at which its validation accuracy is looked at, ascending; 0ep: after masking,
    with batch norm's averages measured anew, before any training."""
    reduction: int = Field(default=3, ge=2)
    """One in so many goes on from a rung to the next."""


class Finalists(Section):
    """The ratios that are trained again on other seeds, beside every formula, and tested once."""

    best: int = Field(default=3, ge=0)
    """How many of the search's ratios: the best by one objective, or those of the Pareto set of two that add most to
    its area; 0: none, and no formulas (default: 3). The winner is the one with the highest validation accuracy over the
    finalists' seeds."""
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Written] = Field(
        default=(100, 101, 102, 103, 104), min_length=1
    )
    """None of them the search's own."""

    @field_validator("seeds")
    @classmethod
    def _no_repeats(cls, values: tuple[int, ...]) -> tuple[int, ...]:
        return each_once(values)


Bound = Annotated[float, Field(ge=0, le=1)]


class Search(Section):
    """A search for the layer-wise ratio under which a method's tickets are best, at an exact budget."""

    method: Annotated[Method, Named] = Field(examples=["hybrid"])
    """The ticket type, with options if it needs some; one that takes `ratios`."""
    sparsity: Annotated[list[Sparsity], BeforeValidator(as_list)] = Field(min_length=1, max_length=2, examples=[0.95])
    """Fraction of the prunable weights to remove: every proposal removes exactly this; or [least, most], between which
    it is one more coordinate."""
    objectives: list[Annotated[Objective, BeforeValidator(lambda v: {"metric": v} if isinstance(v, str) else v)]] = (
        Field(default=[Objective(metric="accuracy/val")], min_length=1, max_length=2)
    )
    """One or two; a metric's name alone will do."""
    space: Annotated[Chosen, Named] = Chosen(name="polynomial")
    """How a layer-wise ratio is written in a few numbers: free, polynomial, erk_power, stages, mixture."""
    bounds: dict[str, Annotated[tuple[Bound, Bound], Written]] = {}  # noqa: RUF012  frozen
    """Pattern of layer names -> the least and the greatest keep ratio of these layers (default: one weight, all)."""
    sampler: Annotated[Chosen, Named] = Chosen(name="tpe")
    """tpe, nsga2, nsga3, gp, cmaes (from the best warm start on), qmc, random, or the name of one of Optuna's samplers;
    further keys are its options."""
    trials: int = Field(default=60, ge=1, le=100_000)
    """Proposals, warm starts included."""
    seed: int = Field(default=0, ge=0)
    """Of the sampler's draws, and of the training of the proposals."""
    seeds: int = Field(default=1, ge=1)
    """How many training seeds the proposals take in turn: seed, seed + 1, ... With one, all share one dense network,
    and the search also follows what is peculiar to it; with more, what it finds holds for other networks rather, and
    the sampler sees the noise of training."""
    concurrency: int = Field(default=2, ge=1)
    """Proposals in flight: proposal n is made from exactly the results 0 to n - concurrency, whichever ends first. Not
    taken from the machine, so that the same spec searches the same way everywhere."""
    max_hours: float | None = Field(default=None, gt=0)
    """No proposal is made later than so long after the command was started; the finalists still run. Running the spec
    again makes none either: a higher limit, or none, goes on with the search."""
    warm_starts: Annotated[tuple[str, ...], Written] | None = None
    """What is tried first: uniform, erk, smart, lamp, magnitude (of the trained network), a file of ratios, or a former
    sweep's folder, whose best ratios are taken (default: all formulas that the method and the space can express)."""
    fidelity: Fidelity | None = None
    """Off by default."""
    finalists: Finalists = Finalists()

    @field_validator("method")
    @classmethod
    def _without_ratio(cls, value: Method) -> Method:
        if value.checks:
            raise ValueError("checks go with `methods`; a search has none")
        if given := [key for key in ("ratio", "ratios", "same_as", "classifier_keep") if key in value.options]:
            raise ValueError(f"{given[0]}: is what is searched for; leave it out")
        return value

    @field_validator("objectives")
    @classmethod
    def _different(cls, values: list[Objective]) -> list[Objective]:
        if len({value.metric for value in values}) < len(values):
            raise ValueError(f"{values[0].metric} stands twice; remove one")
        return values

    @field_validator("warm_starts")
    @classmethod
    def _starts_once(cls, values: tuple[str, ...] | None) -> tuple[str, ...] | None:
        return None if values is None else each_once(values)

    @field_validator("sparsity")
    @classmethod
    def _ascending(cls, values: list[Decimal]) -> list[Decimal]:
        if len(values) == 2 and values[0] == values[1]:
            raise ValueError(f"both ends of the range are {values[0]}; write {values[0]}")
        if len(values) == 2 and values[0] > values[1]:
            raise ValueError(
                f"a range goes from the least to the most; write [{values[1]}, {values[0]}], or one number"
            )
        return values

    @field_validator("bounds")
    @classmethod
    def _in_order(cls, values: dict[str, tuple[float, float]]) -> dict[str, tuple[float, float]]:
        for pattern, (low, high) in values.items():
            if low > high:
                raise ValueError(f"{pattern}: goes from the least to the greatest keep ratio; write [{high}, {low}]")
        return values

    @model_validator(mode="after")
    def _seeds_are_fresh(self) -> Search:
        own = [seed for seed in self.finalists.seeds if self.seed <= seed < self.seed + self.seeds]
        if own:
            raise ValueError(
                f"finalists.seeds: {own[0]} is the search's own seed, on which the finalists were chosen; take another"
            )
        return self
