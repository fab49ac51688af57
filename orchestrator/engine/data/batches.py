"""Batches of a data set as tensors on the device: gathered, augmented and normalised as whole batches."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch

from orchestrator.engine.data.dataset import DataError, DataSet, Split
from orchestrator.spec.models import Augmentation

RESIDENT_BYTES = 2 << 30
"""Data sets up to this size stay on a GPU whole (CIFAR-10: 0.2 GB); larger ones are sent batch by batch."""

EVALUATION_BATCH = 500


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

    def train(self, indices: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        """The training images at these positions of the training split (int64, CPU), augmented."""
        images = self._augment(self._gather("train", indices), generator)
        return self._normalise(images), self._labels["train"][indices.to(self.device)]

    def evaluation(self, split: str, batch_size: int = EVALUATION_BATCH) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """All images of a split (train, validation or test) in their order, without augmentation."""
        labels = self._labels[split]
        for start in range(0, len(labels), batch_size):
            positions = torch.arange(start, min(start + batch_size, len(labels)))
            yield self._normalise(self._gather(split, positions)), labels[start : start + batch_size]

    def scoring(self, per_class: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
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

    def _gather(self, split: str, positions: torch.Tensor) -> torch.Tensor:
        """Raw images uint8 (N, H, W, C) on the device."""
        rows = self._splits[split].indices[positions.numpy()]
        if split in self._resident:
            return self._resident[split][torch.from_numpy(rows).to(self.device)]
        return torch.from_numpy(self._splits[split].images[rows]).to(self.device)

    def _augment(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        if self.augmentation.crop:
            images = _crop(images, self.augmentation.crop, generator)
        if self.augmentation.flip:
            mirror = (torch.rand(len(images), generator=generator) < 0.5).to(self.device)
            images = torch.where(mirror[:, None, None, None], images.flip(2), images)
        return images

    def _normalise(self, images: torch.Tensor) -> torch.Tensor:
        rows = images.reshape(len(images), images.shape[1], -1).float()
        rows.mul_(self._factor).add_(self._offset)
        batch = rows.view(images.shape).permute(0, 3, 1, 2)
        return batch if self.channels_last else batch.contiguous()


def _crop(images: torch.Tensor, padding: int, generator: torch.Generator) -> torch.Tensor:
    """Pad each image (N, H, W, C) with `padding` black pixels a side and cut its size out again, at a place
    drawn uniformly for each: torchvision's RandomCrop(size, padding) on a whole batch."""
    count, height, width, channels = images.shape
    padded = images.new_zeros(count, height + 2 * padding, width + 2 * padding, channels)
    padded[:, padding : padding + height, padding : padding + width] = images
    top, left = torch.randint(2 * padding + 1, (2, count), generator=generator).to(images.device)
    # a view of every window of every image: picking one of each copies nothing else, whole rows at a time
    image, row, column, _ = padded.stride()
    places = 2 * padding + 1
    windows = padded.as_strided((count, places, places, height, width * channels), (image, row, column, row, 1))
    picked = windows[torch.arange(count, device=images.device), top, left]
    return picked.view(images.shape)


@lru_cache(maxsize=2)
def _resident(data: DataSet, device: torch.device) -> dict[str, torch.Tensor]:
    """The images of each split on the device; empty where the data set is too large. Kept between trials."""
    arrays = {id(split.images): split.images for split in (data.train, data.validation, data.test)}
    if sum(array.nbytes for array in arrays.values()) > RESIDENT_BYTES:
        return {}
    held = {key: torch.from_numpy(np.array(array)).to(device) for key, array in arrays.items()}
    return {
        name: held[id(split.images)]
        for name, split in (("train", data.train), ("validation", data.validation), ("test", data.test))
    }
