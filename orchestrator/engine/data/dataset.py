"""What a data set is to the engine: uint8 images in three splits, and how a split is drawn."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from orchestrator.engine.files import digest
from orchestrator.engine.seeds import generator


class DataError(ValueError):
    """Data that cannot be used; `problems` says all that is wrong, one entry each."""

    def __init__(self, *problems: str) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(problems))


@dataclass(frozen=True, eq=False)
class Split:
    """Some rows of an array of images. Train and validation share one array, which may be memory-mapped."""

    images: np.ndarray
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
    """SHA-256 over the decoded images, in the order they are kept."""

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


def moments(images: np.ndarray, rows: np.ndarray | None = None) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel of uint8 images (N, H, W, C), of values in 0..1, over
    `rows` (default: all). Exact: counted, not summed in floating point. A constant channel gets the std of one
    grey level, so that normalising never divides by zero."""
    levels = np.arange(256) / 255
    counts = np.zeros((images.shape[3], 256), np.int64)
    rows = np.arange(len(images)) if rows is None else rows
    for start in range(0, len(rows), 1000):
        part = images[rows[start : start + 1000]]
        for channel in range(len(counts)):
            counts[channel] += np.bincount(part[..., channel].ravel(), minlength=256)
    shares = counts / counts.sum(axis=1, keepdims=True)
    mean = shares @ levels
    variance = (shares * (levels - mean[:, None]) ** 2).sum(axis=1)
    std = np.maximum(np.sqrt(variance), 1 / 255)
    return tuple(map(float, mean)), tuple(map(float, std))
