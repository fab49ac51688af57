"""Batches of a data set as tensors on the device: gathered, augmented and normalised as whole batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch

from orchestrator.engine.data import augment
from orchestrator.engine.data.dataset import DataError, DataSet, Images, Lazy, Split
from orchestrator.engine.data.sending import sent
from orchestrator.engine.data.stream import ahead, begin
from orchestrator.spec.models import Augmentation

RESIDENT_BYTES = 2 << 30
"""Data sets up to this size stay on a GPU whole (CIFAR-10: 0.2 GB); larger ones are sent batch by batch."""

EVALUATION_BATCH = 500

EVALUATION_PIXELS = 500 * 64 * 64
"""Pixels of an evaluation batch at most: large images come in smaller batches."""

Batch = tuple[torch.Tensor, torch.Tensor]


class Batches:
    """Batches of `data` on `device`: images float32 (N, C, H, W), normalised, and labels int64 (N,).

    Every random draw comes from the CPU generator given to the call, so a batch is the same on any device.
    """

    def __init__(
        self, data: DataSet, augmentation: Augmentation, device: torch.device, channels_last: bool = True
    ) -> None:
        self.data, self.augmentation, self.device, self.channels_last = (
            data,
            augmentation,
            device,
            channels_last,
        )
        self._splits: dict[str, Split] = {
            "train": data.train,
            "validation": data.validation,
            "test": data.test,
        }
        self._labels = {name: torch.from_numpy(split.labels).to(device) for name, split in self._splits.items()}
        self._resident = _resident(data, device) if device.type != "cpu" else {}
        # one factor and one offset for each value of an image row (W * C values, channels fastest): the inner
        # loop of normalising then runs over a row instead of over three channels
        mean, std = torch.tensor(data.mean, dtype=torch.float64), torch.tensor(data.std, dtype=torch.float64)
        width = data.shape[2]
        self._factor = (1 / (255 * std)).repeat(width).float().to(device)
        self._offset = (-mean / std).repeat(width).float().to(device)

    def order(self, generator: torch.Generator) -> torch.Tensor:
        """A random order of the training split: a permutation of its positions (int64, CPU)."""
        return torch.randperm(len(self.data.train.labels), generator=generator)

    def train(self, indices: torch.Tensor, generator: torch.Generator) -> Batch:
        """The training images at these positions of the training split (int64, CPU), augmented."""
        return self._begin(indices, generator)()

    def training(self, plan: Iterable[tuple[torch.Tensor, torch.Generator]]) -> Iterator[Batch]:
        """What `train` gives for each entry of the plan, in turn; images in files are read a few batches ahead."""
        return ahead(self._begin(indices, generator) for indices, generator in plan)

    def evaluation(self, split: str, batch_size: int | None = None) -> Iterator[Batch]:
        """All images of a split (train, validation or test) in their order, without augmentation."""
        height, width = self.data.shape[1:]
        size = batch_size or max(1, min(EVALUATION_BATCH, EVALUATION_PIXELS // (height * width)))
        positions = torch.arange(len(self._labels[split])).split(size) if len(self._labels[split]) else ()

        def start(own: torch.Tensor) -> Callable[[], Batch]:
            images = self._gather(split, own)
            return lambda: (self._normalise(images()), self._labels[split][own[0] : own[-1] + 1])

        return ahead(map(start, positions))

    def scoring(self, per_class: int, generator: torch.Generator) -> Batch:
        """`per_class` training images of each class, drawn without replacement, shuffled, augmented as in
        training. Raises DataError if a class has fewer."""
        labels = torch.from_numpy(self.data.train.labels)
        drawn = []
        for label, name in enumerate(self.data.classes):
            own = (labels == label).nonzero().squeeze(1)
            if len(own) < per_class:
                raise DataError(
                    f"a scoring batch of {per_class} images a class was asked for, but class {name!r} has "
                    f"{len(own)} training images; ask for fewer a class"
                )
            drawn.append(own[torch.randperm(len(own), generator=generator)[:per_class]])
        positions = torch.cat(drawn)
        return self.train(positions[torch.randperm(len(positions), generator=generator)], generator)

    def _begin(self, indices: torch.Tensor, generator: torch.Generator) -> Callable[[], Batch]:
        """Begin to read a training batch; the call that is returned gives it."""
        scale, images = self.augmentation.random_resized_crop, self.data.train.images
        whole = isinstance(images, Lazy) and images.whole
        cuts = augment.Cuts.draw(len(indices), scale, generator) if scale and whole else None
        gathered = self._gather("train", indices, cuts)

        def finish() -> Batch:
            images = self._augment(gathered(), generator, cut_already=cuts is not None)
            return self._normalise(images), self._labels["train"][sent(indices, self.device)]

        return finish

    def _gather(
        self, split: str, positions: torch.Tensor, cuts: augment.Cuts | None = None
    ) -> Callable[[], torch.Tensor]:
        """Begin to read; the call that is returned gives raw images uint8 (N, H, W, C) on the device."""
        rows = self._splits[split].indices[positions.numpy()]
        if split in self._resident:
            return lambda: self._resident[split][sent(torch.from_numpy(rows), self.device)]
        images = begin(self._splits[split].images, rows, cuts)
        return lambda: sent(torch.from_numpy(images()), self.device)

    def _augment(self, images: torch.Tensor, generator: torch.Generator, cut_already: bool) -> torch.Tensor:
        if self.augmentation.crop:
            images = augment.crop(images, self.augmentation.crop, generator)
        if self.augmentation.random_resized_crop and not cut_already:
            images = augment.cut_and_resize(images, self.augmentation.random_resized_crop, generator)
        if self.augmentation.flip:
            images = augment.flip(images, generator)
        if self.augmentation.rotation:
            images = augment.rotate(images, self.augmentation.rotation, generator)
        return images

    def _normalise(self, images: torch.Tensor) -> torch.Tensor:
        rows = images.reshape(len(images), images.shape[1], -1).float()
        rows.mul_(self._factor).add_(self._offset)
        batch = rows.view(images.shape).permute(0, 3, 1, 2)
        return batch if self.channels_last else batch.contiguous()


def _resident(data: DataSet, device: torch.device) -> dict[str, torch.Tensor]:
    """The images of each split on the device; empty where the data set is too large or streamed."""
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    arrays = {id(split.images): split.images for split in splits.values()}
    streams = any(isinstance(array, Lazy) and array.streams for array in arrays.values())
    if streams or sum(array.nbytes for array in arrays.values()) > RESIDENT_BYTES:
        return {}
    return {name: _on_device(split.images, device) for name, split in splits.items()}


_held: dict[tuple[int, torch.device], tuple[Images, torch.Tensor]] = {}
"""Images kept on a device between trials, the latest last, with what they were made from: views of one data set
share them, and an array that is kept here keeps its id."""

HELD = 4
"""How many arrays are kept: two data sets, training and test."""


def _on_device(images: Images, device: torch.device) -> torch.Tensor:
    key = (id(images), device)
    if key not in _held:
        whole = images[np.arange(len(images))] if isinstance(images, Lazy) else np.array(images)
        _held[key] = images, torch.from_numpy(whole).to(device)
    _held[key] = _held.pop(key)
    while len(_held) > HELD:
        del _held[next(iter(_held))]
    return _held[key][1]
