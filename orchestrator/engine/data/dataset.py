"""What a data set is to the engine: uint8 images in three splits, and how a split is drawn."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from orchestrator.engine.data.augment import Cuts
from orchestrator.engine.files import digest
from orchestrator.engine.seeds import generator
from orchestrator.spec.data import Drawn, Normalised

SHOWN = 5
"""How many names an error lists."""


class DataError(ValueError):
    """Data that cannot be used; `problems` says all that is wrong, one entry each."""

    def __init__(self, *problems: str) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(problems))


class Lazy(ABC):
    """Images that are made when they are asked for. Indexed by rows like the array they stand for."""

    shape: tuple[int, int, int, int]
    """(M, H, W, C)."""
    streams = False
    """Whether images are read from files each time, so that none are ever kept."""
    whole = False
    """Whether `begin` takes cuts, made from images at their full size."""

    @abstractmethod
    def begin(self, rows: np.ndarray, cuts: Cuts | None = None) -> Callable[[], np.ndarray]:
        """Begin to make the images of these rows; the call that is returned waits for them: uint8 (N, H, W, C).
        With `cuts`, each is a random part of the whole image, at the same size."""

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        return self.begin(rows)()

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of the array they stand for."""
        return int(np.prod(self.shape))


Images = np.ndarray | Lazy


@dataclass(frozen=True, eq=False)
class Split:
    """Some rows of an array of images. Train and validation share one array, which may be memory-mapped."""

    images: Images
    """uint8 (M, H, W, C), M >= N."""
    indices: np.ndarray
    """int64 (N,): the rows of `images` that belong to the split."""
    labels: np.ndarray
    """int64 (N,): the class of each of them."""


@dataclass(frozen=True, eq=False)
class DataSet:
    """Images, labels and how to normalise them. `eq=False`: two are the same where their fingerprints are."""

    name: str
    classes: tuple[str, ...]
    shape: tuple[int, int, int]
    """Channels, height, width."""
    mean: tuple[float, ...]
    """Mean of each channel, of values in 0..1."""
    std: tuple[float, ...]
    train: Split
    validation: Split
    test: Split
    content: str
    """SHA-256 over the images, in the order they are kept: decoded, or of their files where they are streamed."""
    notes: tuple[str, ...] = ()
    """What its user should know though nothing is wrong, such as how many images were not RGB."""

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over all that training and measuring can see: every byte of the images, labels, class
        names, which image is in which split, and the normalisation."""
        splits = (self.train, self.validation, self.test)
        return digest(
            {
                "content": self.content,
                "classes": self.classes,
                "shape": self.shape,
                "normalise": [self.mean, self.std],
                "splits": [[array_digest(split.indices), array_digest(split.labels)] for split in splits],
            }
        )


def assemble(
    data: Drawn,
    classes: Sequence[str],
    train: tuple[Images, np.ndarray],
    test: tuple[Images, np.ndarray],
    normalise: tuple[tuple[float, ...], tuple[float, ...]],
    content: str,
    notes: Sequence[str] = (),
) -> DataSet:
    """The data set of these training and test images and their labels (int64), validation drawn class by class
    from the training images. Raises DataError where a class has no images, or none left to train on."""
    problems = empty_classes(train[1], classes, "training") + empty_classes(test[1], classes, "test")
    if problems:
        raise DataError(*problems)
    kept, held = hold_out(np.arange(len(train[1])), train[1], data.validation, classes, data.split_seed, "validation")
    _, height, width, channels = train[0].shape
    return DataSet(
        name=data.name,
        classes=tuple(classes),
        shape=(channels, height, width),
        mean=normalise[0],
        std=normalise[1],
        train=Split(train[0], kept, train[1][kept]),
        validation=Split(train[0], held, train[1][held]),
        test=Split(test[0], np.arange(len(test[1])), test[1]),
        content=content,
        notes=tuple(notes),
    )


def empty_classes(labels: np.ndarray, classes: Sequence[str], what: str) -> list[str]:
    """Says which classes have no image of a split, if any."""
    counts = np.bincount(labels, minlength=len(classes))
    empty = [name for name, count in zip(classes, counts, strict=True) if not count]
    return [f"{len(empty)} classes have no {what} images: {listed(empty)}; every class needs some"] if empty else []


def label_problems(labels: np.ndarray, images: int, classes: int, where: str) -> list[str]:
    """What is wrong with labels: their number, and values that name no class."""
    if labels.shape != (images,):
        return [f"{where} holds {images:,} images and labels of shape {labels.shape}; every image needs one label"]
    if labels.dtype.kind not in "iu":
        return [f"{where}: labels are {labels.dtype}; expected whole numbers, 0 to {classes - 1}"]
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if not len(wrong):
        return []
    first = f"the first is {labels[wrong[0]]}, of image {wrong[0]}"
    return [f"{where}: {len(wrong)} labels are not in 0..{classes - 1} ({first}); there are {classes} classes"]


def normalisation_problems(data: Normalised, channels: int) -> list[str]:
    """What is wrong with the mean and std that a spec gives for images of so many channels."""
    problems = []
    names = " (red, green, blue)" if channels == 3 else ""
    for name, values in (("mean", data.mean), ("std", data.std)):
        if values is None:
            continue
        if len(values) != channels:
            plural = "s" if channels > 1 else ""
            problems.append(f"{name}: expected {channels} number{plural}{names}, found {len(values)}")
        if not all(0 <= value <= 1 for value in values) or (name == "std" and 0 in values):
            bounds = "above 0 and not above 1" if name == "std" else "in 0..1"
            problems.append(f"{name}: expected numbers {bounds}, of pixel values in 0..1; divide by 255 if need be")
    return problems


def array_digest(array: np.ndarray) -> str:
    """SHA-256 of an array's shape and bytes."""
    hashed = hashlib.sha256(f"{array.dtype}{array.shape}".encode())
    hashed.update(np.ascontiguousarray(array).data)
    return hashed.hexdigest()


def hold_out(
    rows: np.ndarray, labels: np.ndarray, fraction: float, classes: Sequence[str], seed: int, purpose: str
) -> tuple[np.ndarray, np.ndarray]:
    """Draw `fraction` of every class from `rows` (int64; `labels[row]` is a row's class). Returns the rows
    that stay and those held out, both ascending. A fraction above 0 takes at least one image a class. Raises
    DataError naming a class that would have none left."""
    held = [np.empty(0, np.int64)]
    for label, name in enumerate(classes if fraction > 0 else ()):
        own = rows[labels[rows] == label]
        count = max(1, round(len(own) * fraction))
        if count >= len(own):
            raise DataError(
                f"{purpose}: {fraction:g} takes all {len(own)} images of class {name!r}, and none is left to "
                "train on; use a smaller fraction, or add images"
            )
        order = torch.randperm(len(own), generator=generator(seed, "split", purpose, label))
        held.append(own[order[:count].numpy()])
    out = np.sort(np.concatenate(held))
    return np.setdiff1d(rows, out, assume_unique=True), out


def listed(names: Sequence[str]) -> str:
    """The first few of these names."""
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
