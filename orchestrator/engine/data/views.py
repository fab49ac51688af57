"""Views of a data set: parts of it, or it with its training images or labels spoilt. Each is a data set like any
other, with a fingerprint of its own, that shares the images of the one it is made from.

What each touches: `class_block` restricts training, validation and test; `half`, `random_labels` and
`permuted_pixels` change the training split alone, so that validation and test stay the clean, whole ones. The
normalisation is always that of the whole data set.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from methods.bench import DataView
from orchestrator.engine.data.augment import Cuts
from orchestrator.engine.data.dataset import DataError, DataSet, Images, Lazy, Split
from orchestrator.engine.data.stream import begin
from orchestrator.engine.files import digest
from orchestrator.engine.seeds import generator


def viewed(data: DataSet, view: DataView, seed: int) -> DataSet:
    """The view of a data set that a method names, drawn from `seed`. Raises DataError where the data do not allow it,
    ValueError where there is no such kind."""
    if view.kind == "class_block":
        return class_block(data, view.block, view.of)
    kinds: dict[str, Callable[[DataSet, int], DataSet]] = {
        "half": half,
        "random_labels": random_labels,
        "permuted_pixels": permuted_pixels,
        "noise": noise,
    }
    if view.kind not in kinds:
        raise ValueError(f"unknown view {view.kind!r} of data; known: class_block, {', '.join(kinds)}")
    return kinds[view.kind](data, seed)


def noise(data: DataSet, seed: int) -> DataSet:
    """Random labels and permuted pixels at once: the corrupted data of Su et al. (2020)."""
    return permuted_pixels(random_labels(data, seed), seed)


def class_block(data: DataSet, block: int, of: int) -> DataSet:
    """Block `block` (from 0) of the classes in `of` contiguous blocks of C / of each, labels counted from 0 again;
    training, validation and test hold these classes alone. As COLT splits its data (Hossain et al., 2022). Raises
    DataError where the classes do not split evenly, or a block would hold fewer than two."""
    classes = len(data.classes)
    if classes % of or classes // of < 2:
        raise DataError(
            f"{classes} classes do not make {of} equal blocks of two or more; choose another number of blocks"
        )
    if not 0 <= block < of:
        raise DataError(f"there is no block {block} of {of}; blocks are counted from 0")
    size = classes // of
    first = block * size

    def own(split: Split) -> Split:
        inside = (split.labels >= first) & (split.labels < first + size)
        return Split(split.images, split.indices[inside], split.labels[inside] - first)

    return replace(
        data,
        name=f"{data.name} (classes {first} to {first + size - 1})",
        classes=data.classes[first : first + size],
        train=own(data.train),
        validation=own(data.validation),
        test=own(data.test),
    )


def half(data: DataSet, seed: int) -> DataSet:
    """Half of the training images of each class, drawn from `seed`; of an odd number the smaller half, but at
    least one. Validation and test are untouched."""
    kept = []
    for label in range(len(data.classes)):
        own = np.flatnonzero(data.train.labels == label)
        order = torch.randperm(len(own), generator=generator(seed, "half", label)).numpy()
        kept.append(own[order[: max(1, len(own) // 2)]])
    rows = np.sort(np.concatenate(kept))
    train = Split(data.train.images, data.train.indices[rows], data.train.labels[rows])
    return replace(data, name=f"{data.name} (half)", train=train)


def random_labels(data: DataSet, seed: int) -> DataSet:
    """Every training label replaced by a class drawn uniformly from `seed`, so that 1/C stay right by chance. The
    random labels of Su et al. (2020). Validation and test are untouched."""
    count = len(data.train.labels)
    drawn = torch.randint(len(data.classes), (count,), generator=generator(seed, "random labels"))
    train = Split(data.train.images, data.train.indices, drawn.numpy())
    return replace(data, name=f"{data.name} (random labels)", train=train)


def permuted_pixels(data: DataSet, seed: int) -> DataSet:
    """Every training image's H * W * C values in an order of its own, drawn from `seed` and the image's row: the
    same each time the image is seen, before any augmentation. The corrupted data of Su et al. (2020) is this with
    random labels. Labels, validation and test are untouched; nothing is copied."""
    train = Split(Permuted(data.train.images, seed), data.train.indices, data.train.labels)
    content = digest({"permuted pixels": seed, "of": data.content})
    return replace(data, name=f"{data.name} (permuted pixels)", train=train, content=content)


class Permuted(Lazy):
    """Images, each with its values in a random order of its own."""

    def __init__(self, images: Images, seed: int) -> None:
        self.images, self.seed = images, seed
        self.shape = images.shape
        self.streams = isinstance(images, Lazy) and images.streams

    def begin(self, rows: np.ndarray, cuts: Cuts | None = None) -> Callable[[], np.ndarray]:
        """See Lazy. Cuts are made afterwards, out of the permuted image."""
        assert cuts is None
        plain = begin(self.images, rows)

        def finish() -> np.ndarray:
            images = plain()
            values = images.reshape(len(rows), -1)
            orders = np.stack([self.order(int(row)) for row in rows]) if len(rows) else np.empty(values.shape, np.int64)
            return np.take_along_axis(values, orders, axis=1).reshape(images.shape)

        return finish

    def order(self, row: int) -> np.ndarray:
        """Where each value of the image in this row comes from: a permutation of H * W * C places."""
        return torch.randperm(int(np.prod(self.shape[1:])), generator=generator(self.seed, "pixels", row)).numpy()
