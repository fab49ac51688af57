"""What a method works with: a bench that remembers every costly step it was ever asked for.

A method is written as its paper's algorithm over a `Workbench`. Each step it asks for (initialise, train,
compute) is a *stage*: a pure function of its inputs, named by the hash of those inputs. The bench hands back a
`Stage`, a name for the result, not the result; where the stage exists already nothing is computed. A planning
bench computes nothing at all, so a method never looks at tensors outside a function given to `compute`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch
from torch import nn

from methods.layers import Layer
from methods.step import Step

if TYPE_CHECKING:
    from methods.updater import Updater

Found = TypeVar("Found")
Tensors = dict[str, torch.Tensor]
"""Weights: the network's state_dict. Masks: layer name -> bool tensor of the weight's shape, True is kept."""


@dataclass(frozen=True)
class DataView:
    """Training data made from the sweep's: `kind` is class_block (block `block` of the classes in `of` equal parts,
    labels from 0; validation and test are cut alike), half (of the images of each class), random_labels,
    permuted_pixels (each image in an order of its own) or noise (both of these). All draws are the trial's."""

    kind: str
    block: int = 0
    of: int = 1


@dataclass(frozen=True)
class Stage:
    """The name of a stage's result. `step` is where in the training schedule its weights stand (iterations)."""

    key: str
    step: int = 0

    def at(self, step: int) -> Stage:
        """The same weights at another step of the schedule: learning-rate rewinding trains them from there."""
        return replace(self, step=step)

    def __getitem__(self, name: str) -> Any:
        raise TypeError("a Stage names a result and holds none; look at tensors in a function given to `bench.compute`")


@dataclass(frozen=True)
class Ticket:
    """What a method finds: the weights to train from and the masks that say which of them exist.
    The engine trains it under the sweep's recipe, from the weights' step to the schedule's end."""

    weights: Stage
    masks: Stage
    trained: Stage | None = None
    """The trained ticket, of a method that trains it itself: while it prunes, or under a recipe of its own."""
    before: Stage | None = None
    """Weights whose test accuracy is reported beside the trained ticket's, as accuracy/before: those just before
    pruning, for pruning plasticity."""


class Workbench(Protocol):
    """One trial's tools. Everything it hands out depends on the trial's seed alone, never on the clock or on
    what other trials do."""

    seed: int
    sparsity: Decimal
    """Fraction of the prunable weights to remove."""
    layers: tuple[Layer, ...]
    """Prunable layers in module order."""
    residual: bool | None
    """Whether the network has residual connections; None where a user's network does not say."""
    classes: int
    shape: tuple[int, int, int]
    """Of an image: channels, height, width."""
    smallest_class: int
    """Training images of the class that has the fewest."""
    recipe: Mapping[str, Any]
    """How networks are trained, as JSON: the spec's section `recipe`."""
    latency_batches: tuple[int, ...]
    """Batch sizes of which latencies are measured."""

    def learning_rate(self, at: Step) -> float:
        """The recipe's learning rate at a step of the schedule; at its end, that of the last iteration."""
        ...

    def examine(self, function: Callable[[nn.Module, Workbench], Found]) -> Found:
        """What `function(net, bench)` says of the network's structure, while the sweep is planned: `net` is a copy on
        the CPU in evaluation mode, its weights are zeros. Asked once for each network, whatever the trials."""
        ...

    def iterations(self, step: Step) -> int:
        """Optimiser iterations until a step of the schedule."""
        ...

    def initialise(self, draw: int = 0) -> Stage:
        """The network's initial weights (or the ones the spec names as `weights:`). Other `draw`s are other weights
        of the same distribution. ValueError for these where the spec names weights."""
        ...

    def dense_masks(self) -> Stage:
        """Masks that keep every weight."""
        ...

    def on(self, data: DataView | None = None, recipe: Mapping[str, Any] | None = None) -> Workbench:
        """This bench on other training data, or with some keys of the recipe changed. Its stages stand beside this
        one's, and may be used on it wherever the shapes fit. Raises ValueError where the data do not allow the view,
        or the recipe is none."""
        ...

    def side_by_side(self, asking: Sequence[Callable[[], Stage]]) -> list[Stage]:
        """What each of these asks for, in their order; those that other trials are making are left to the last, so that
        several trials share the work."""
        ...

    def found_by(self, method: str, options: Mapping[str, Any]) -> Ticket:
        """The ticket that another method finds on this bench. LookupError for an unknown method, ValueError for wrong
        options and whatever it refuses."""
        ...

    def given(self, path: str, part: str) -> Stage:
        """What a ticket's file holds: "mask" (masks by layer name), "start" (the weights that it is trained from) or
        "weight" (the trained ones). OSError or ValueError where it cannot be read."""
        ...

    def ask(self, stage: Stage, name: str, otherwise: float) -> float:
        """The number that a stage holds under `name`, for a method whose course depends on data. The plan of a sweep
        is made with `otherwise`, which must be the answer that leads to the longest course."""
        ...

    def train(
        self,
        weights: Stage,
        masks: Stage | None = None,
        until: Step | None = None,
        updater: Updater | None = None,
    ) -> Stage:
        """Weights after training `weights` under `masks` (default: dense) from their step of the schedule to
        `until` (default: the end). The optimiser starts fresh; removed weights stay exactly zero. An `updater`
        changes the masks on the way: see `masks_of`.
        Raises ValueError if `until` lies before the weights' step or beyond the schedule's end."""
        ...

    def masks_of(self, trained: Stage) -> Stage:
        """The masks that an updater left at the end of this training."""
        ...

    def compute(self, function: Callable[..., Tensors], *inputs: Stage, **options: Any) -> Stage:
        """The result of `function(bench, *values, **options)`, a dict of tensors, where `values` are the
        results of `inputs`. The function must depend on nothing else; options must be JSON values."""
        ...

    def latency(self, weights: Stage) -> Stage:
        """What the network in these weights' shapes takes on this trial's device: scalars (float64) "ms/b1",
        "dense_ms/b1" (milliseconds a batch), "speedup/b1" (dense over this) and "peak_mb/b1", for each batch size of
        the spec's `latency`; none for a batch that does not run. Each distinct structure is measured once a device
        type, while nothing else runs on the machine; masks change nothing."""
        ...

    # Inside a computed function:

    def net(self, weights: Tensors) -> nn.Module:
        """The network with these weights, on the trial's device, in training mode."""
        ...

    def scoring_batch(self, per_class: int, part: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        """A class-balanced batch of training images (N, C, H, W) and labels (N,), N = classes * per_class,
        augmented as in training. Other `part`s are other draws. ValueError if a class has fewer images."""
        ...

    def macs(self, weights: Tensors | None) -> int:
        """Multiply-accumulates for one image of the network in these weights' shapes; of the dense one for None."""
        ...

    def images(self, split: str, batch: int, part: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Batches (images (N, C, H, W), labels (N,)) of at most `batch` images. Of "train": all images once, in a
        random order (other `part`s are other orders), augmented as in training. Of "validation": all in their order,
        not augmented; nothing where the spec holds none out."""
        ...

    def generator(self, purpose: str, *parts: int | str) -> torch.Generator:
        """A CPU generator seeded by the trial's seed and the purpose."""
        ...
