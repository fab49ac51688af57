"""What a sweep's spec may say: strict models, one a section. They check shape alone; what needs nets
or data is checked by `orchestrator.engine.check`."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from methods.step import Step
from orchestrator.spec.data import Data
from orchestrator.spec.method import Method
from orchestrator.spec.search import Search
from orchestrator.spec.section import Named, Scalar, Section, Sparsity, Written, as_list, each_once
from orchestrator.spec.sharing import refuse_password


class Model(BaseModel):
    """A network by name, or a user's `module:factory`; further keys are options of its builder."""

    model_config = ConfigDict(extra="allow", frozen=True, use_attribute_docstrings=True)
    __pydantic_extra__: dict[str, Scalar] = {}

    name: str = Field(min_length=1)
    """A built-in network (convnet, resnet20, vgg19, ...), one of torchvision's (resnet18, ...) or
    `module:factory`."""
    weights: str | None = None
    """A .safetensors or .pt file, or the name of torchvision weights, to start from instead of training
    the dense network."""

    @property
    def options(self) -> dict[str, Scalar]:
        """Options of the builder, as written."""
        return dict(self.__pydantic_extra__ or {})


class Prunable(Section):
    """Which layers may lose weights: all convolutions and linear maps, but for these."""

    exclude: Annotated[tuple[str, ...], Written] = ()
    """Patterns of module names that stay dense and are not counted, e.g. `fc` or `stage1.*`."""


class Schedule(Section):
    """Learning rate over training, as a factor of `lr`."""

    name: Literal["constant", "milestones", "cosine"] = "constant"
    at: Annotated[tuple[Step, ...], Written] = ()
    """Milestones: the steps at which the rate is multiplied by `gamma`."""
    gamma: float = Field(default=0.1, gt=0, lt=1)
    """Factor at each milestone."""
    warmup: Step = Step(Decimal(0), "ep")
    """Length of a linear rise from zero at the start."""

    @model_validator(mode="after")
    def _milestones_need_steps(self) -> Schedule:
        if (self.name == "milestones") != bool(self.at):
            raise ValueError("`at` goes with `name: milestones`, and milestones need it, e.g. at: [80ep, 120ep]")
        return self


Share = Annotated[float, Field(gt=0, le=1)]


class Augmentation(Section):
    """Random changes of the training images, drawn anew for every image and step."""

    crop: int = Field(default=0, ge=0)
    """Pixels of zero padding on each side before a random crop back to size; 0: none."""
    random_resized_crop: Annotated[tuple[Share, Share], Written] | None = None
    """Cut a random part of the image and resize it to the image's size: the least and the greatest share of its
    area, e.g. [0.08, 1]; sides 3:4 to 4:3."""
    flip: bool = False
    """Mirror half of the images left to right."""
    rotation: float = Field(default=0, ge=0, le=180)
    """Degrees by which an image is turned at most, either way, its corners filled with black; 0: none."""

    @model_validator(mode="after")
    def _one_way_to_cut(self) -> Augmentation:
        if self.random_resized_crop and self.random_resized_crop[0] > self.random_resized_crop[1]:
            low, high = self.random_resized_crop
            raise ValueError(
                f"random_resized_crop goes from the least share to the greatest; write [{high:g}, {low:g}]"
            )
        if self.random_resized_crop and self.crop:
            raise ValueError("crop and random_resized_crop are two ways to cut an image; choose one")
        return self


class Recipe(Section):
    """How a network is trained: the dense one and every ticket alike."""

    epochs: int = Field(ge=1, examples=[160])
    """Length of training."""
    batch: int = Field(default=64, ge=1)
    """Images a step."""
    optimiser: Literal["sgd", "adam"] = "sgd"
    lr: float = Field(default=0.1, gt=0)
    """Learning rate before the schedule's factor."""
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of sgd."""
    nesterov: bool = False
    weight_decay: float = Field(default=0.0, ge=0)
    """L2 penalty on every parameter."""
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    precision: Literal["float32", "bfloat16"] = "float32"
    """What convolutions and linear maps multiply in while training (torch's autocast); weights, their gradients and the
    loss stay float32, and so do scores and evaluation. bfloat16 is faster on GPUs and on processors with AVX512-BF16
    or AMX, and slower on others."""
    compile: bool = False
    """Whether forward and backward passes of training are compiled (torch.compile), on a GPU into CUDA graphs. That
    takes from seconds to minutes for each structure, once for each machine; an epoch's smaller last batch stays as it
    is."""
    schedule: Schedule = Schedule()
    augmentation: Augmentation = Augmentation()

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Recipe:
        if self.nesterov and not (self.optimiser == "sgd" and self.momentum > 0):
            raise ValueError("nesterov needs `optimiser: sgd` and a momentum above 0")
        return self


class Resources(Section):
    """What one trial holds while it runs."""

    cpu: int = Field(default=1, ge=1)
    """Processor cores, and threads of each trial."""
    gpu: float = Field(default=0, ge=0)
    """Graphics processors; a fraction lets several trials share one. 0 trains on the processor."""

    @field_validator("gpu")
    @classmethod
    def _whole_above_one(cls, value: float) -> float:
        if value > 1:
            raise ValueError("a trial uses at most one GPU")
        return value


class Failures(Section):
    """When to try again and when to give up."""

    max_failures: int = Field(default=2, ge=0)
    """How often a trial whose worker died or made no progress is started again; that its host went does not count."""
    stall_minutes: float | None = Field(default=60, gt=0)
    """End a trial's worker, and start the trial again, once it has told of no progress for so long: no epoch, stage or
    checkpoint; waiting for others is none of its own. Null: never."""
    max_failed_trials: int | None = Field(default=None, ge=0)
    """Stop the sweep once more trials than this have failed (default: never)."""


Runtime = Literal["dense", "compact", "compiled", "onnxruntime"]


class Latency(Section):
    """How long each network structure takes, measured once a device type while nothing else runs on the machine."""

    enabled: bool = True
    batches: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Written] = Field(default=(1, 64), min_length=1)
    """Images of one forward pass: 1 for the wait, 64 for throughput."""
    seconds: float = Field(default=1.0, gt=0)
    """Time of measuring each structure at each batch size, at least; up to five times as long where the interval of
    the speed-up is not under 2 % before. Trials on the machine pause meanwhile."""
    runtimes: Annotated[tuple[Runtime, ...], Written] = Field(default=("dense",), min_length=1)
    """What runs the network: `dense`, as it is, in eager torch; `compact`, without the channels that its mask has
    emptied; that network `compiled` by torch.compile, and in `onnxruntime`. All beside the dense network in eager
    torch. `dense` is measured once for all masked tickets of a network; a ticket's own emptied channels make a
    structure of its own, so that each of the others costs every trial a measurement, `compiled` half a minute of the
    compiler's too."""
    device: str | None = Field(default=None, min_length=1)
    """The accelerator type, as Ray labels machines, on which all latencies are measured where machines differ (default:
    the type that most trials fit on)."""

    @field_validator("batches", "runtimes")
    @classmethod
    def _no_repeats(cls, values: tuple) -> tuple:
        return each_once(values)

    @field_validator("runtimes")
    @classmethod
    def _with_dense(cls, values: tuple[Runtime, ...]) -> tuple[Runtime, ...]:
        if "dense" not in values:
            raise ValueError(f"`dense` is measured beside every other; write [{', '.join(['dense', *values])}]")
        return values


class Sanity(Section):
    """How the sanity checks of `methods[].checks` are judged."""

    margin: float = Field(default=0.5, gt=0, lt=100)
    """Percentage points of accuracy that do not matter: a ticket that differs by less from the one that was checked
    did not use what the check destroys."""


class Tracking(Section):
    """Where MLflow keeps the runs."""

    enabled: bool = True
    uri: str | None = None
    """A tracking server or database, without a password (default: MLFLOW_TRACKING_URI, else mlflow.db in the sweep's
    folder)."""
    experiment: str = Field(default="jackpot", min_length=1, max_length=256)  # what MLflow's databases hold
    """The MLflow experiment that holds the sweep's runs."""
    system_metrics: bool = False
    """Log with every epoch how busy the machine and the GPU were, and how full their memories."""

    @field_validator("uri")
    @classmethod
    def _without_password(cls, value: str | None) -> str | None:
        return value if value is None else refuse_password(value)


class Spec(Section):
    """A whole sweep: methods x sparsities x seeds x models on one data set under one recipe."""

    name: str = Field(max_length=100, examples=["my-sweep"])
    """The sweep's name and its folder's."""
    data: Annotated[Data, Named] = Field(examples=["digits"])
    model: Annotated[list[Annotated[Model, Named]], BeforeValidator(as_list)] = Field(
        min_length=1, examples=["resnet20"]
    )
    """One network or a list of them."""
    recipe: Recipe = Field(examples=[{"epochs": 160}])
    methods: list[Annotated[Method, Named]] = Field(default=[], examples=[["dense", "random"]])
    """The ticket types to compare; may be left out where there is a `search`."""
    sparsities: list[Sparsity] = Field(default=[])
    """Fractions of the prunable weights to remove."""
    seeds: list[Annotated[int, Field(ge=0)]] = Field(default=[0], min_length=1)
    """One trial each; the same seeds for every method, so that differences are paired."""
    search: Search | None = None
    """A search for the best layer-wise ratio, beside the `methods`."""
    prunable: Prunable = Prunable()
    resources: Resources = Resources()
    concurrency: int | None = Field(default=None, ge=1)
    """Trials at once (default: as many as the resources allow)."""
    failures: Failures = Failures()
    latency: Latency = Latency()
    sanity: Sanity = Sanity()
    tracking: Tracking = Tracking()
    storage: str | None = None
    """The folder that holds sweeps' folders (default: ./sweeps), or an address such as s3://BUCKET/sweeps."""
    keep: Literal["all", "tickets"] = "all"
    """`all` keeps every stage, so that extending the sweep is cheap; `tickets` drops, once the sweep has
    ended, the stages that no ticket needs."""

    @field_validator("name")
    @classmethod
    def _a_folder_name(cls, value: str) -> str:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", value):
            raise ValueError("a sweep's name is letters, digits, '.', '_' and '-', and starts with a letter or digit")
        return value

    @field_validator("model", "seeds", "sparsities")
    @classmethod
    def _no_repeats(cls, values: list) -> list:
        return each_once(values)
