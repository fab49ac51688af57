"""CIFAR-10 and CIFAR-100 in the layout of the published Python archives, which torchvision uses too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.engine.data.cache import cached
from orchestrator.engine.data.cifar_archive import CIFAR10, CIFAR100, Layout, find
from orchestrator.engine.data.dataset import DataError, DataSet, assemble, label_problems, normalisation_problems
from orchestrator.engine.data.moments import moments
from orchestrator.engine.data.unpickle import unpickle
from orchestrator.engine.files import digest
from orchestrator.spec.data import Cifar, Cifar10

SIDE, CHANNELS = 32, 3
SPLITS = {"train": 50_000, "test": 10_000}
"""Images of each split as published."""


def load_cifar(data: Cifar) -> DataSet:
    """CIFAR-10 or CIFAR-100 out of the unpacked archive below `root`, downloaded if need be. Read once a machine
    into a cache that every process maps into its memory. Files with as many images as the published ones must have
    their checksums. Validation is drawn class by class from the training images. Raises DataError."""
    layout = CIFAR10 if isinstance(data, Cifar10) else CIFAR100
    if problems := normalisation_problems(data, CHANNELS):
        raise DataError(*problems)
    folder = find(data, layout)
    files = layout.names_of_files()
    stats = [[name, (folder / name).stat().st_size, (folder / name).stat().st_mtime_ns] for name in files]

    def make(target: Path) -> dict[str, Any]:
        classes, splits, problems = read(folder, layout)
        if problems:
            raise DataError(*problems)
        for split, (images, labels) in splits.items():
            np.save(target / f"{split}.npy", images)
            np.save(target / f"{split}_labels.npy", labels)
        mean, std = moments(splits["train"][0])
        return {"root": str(folder), "classes": classes, "mean": mean, "std": std}

    entry = cached(digest([layout.reference, str(folder), stats]), f"reading {folder}", make)
    arrays, meta = entry.arrays, entry.meta
    counts = {split: len(arrays[f"{split}_labels"]) for split in SPLITS}
    note = (
        f"{folder} holds {counts['train']:,} training and {counts['test']:,} test images; the published set has "
        f"{SPLITS['train']:,} and {SPLITS['test']:,}"
    )
    return assemble(
        data,
        meta["classes"],
        (arrays["train"], np.array(arrays["train_labels"])),
        (arrays["test"], np.array(arrays["test_labels"])),
        (data.mean or tuple(meta["mean"]), data.std or tuple(meta["std"])),
        entry.content,
        () if counts == SPLITS else (note,),
    )


Arrays = dict[str, tuple[np.ndarray, np.ndarray]]


def read(folder: Path, layout: Layout) -> tuple[list[str], Arrays, list[str]]:
    """Class names, images (uint8, N x 32 x 32 x 3) and labels (int64) of each split, and all that is wrong."""
    problems: list[str] = []
    classes = _class_names(folder / layout.meta, layout, problems)
    checksums = _checksums(layout)
    splits: Arrays = {}
    for split, names in layout.files.items():
        parts = [_batch(folder / name, layout, problems) for name in names]
        published = SPLITS[split] // len(names)
        problems += [
            f"{folder / name} has as many images as the published file but not its checksum: it is damaged; unpack "
            "the archive again"
            for name, (images, _) in zip(names, parts, strict=True)
            if len(images) == published and not _matches(folder / name, checksums[name])
        ]
        splits[split] = np.concatenate([images for images, _ in parts]), np.concatenate([own for _, own in parts])
    return classes, splits, problems


def _batch(path: Path, layout: Layout, problems: list[str]) -> tuple[np.ndarray, np.ndarray]:
    none = np.empty((0, SIDE, SIDE, CHANNELS), np.uint8), np.empty(0, np.int64)
    try:
        content = unpickle(path, ("data", layout.labels))
    except DataError as error:
        problems += error.problems
        return none
    values, labels = content["data"], _labels(content[layout.labels])
    size = CHANNELS * SIDE * SIDE
    if not isinstance(values, np.ndarray) or values.dtype != np.uint8 or values.shape[1:] != (size,):
        kind = f"{values.dtype} {values.shape}" if isinstance(values, np.ndarray) else type(values).__name__
        problems.append(f"{path}: the images are {kind}; expected uint8 (N, {size}), a row an image")
        return none
    if wrong := label_problems(labels, len(values), layout.classes, str(path)):
        problems += wrong
        return none
    return values.reshape(-1, CHANNELS, SIDE, SIDE).transpose(0, 2, 3, 1), labels.astype(np.int64)


def _labels(said: Any) -> np.ndarray:
    """The labels as an array; of what is none as one that fits nothing."""
    try:
        return np.asarray(said)
    except ValueError:  # lists of unequal length in each other
        return np.empty(0, object)


def _class_names(path: Path, layout: Layout, problems: list[str]) -> list[str]:
    try:
        names = unpickle(path, (layout.names,))[layout.names]
    except DataError as error:
        problems += error.problems
        return []
    if not isinstance(names, list) or len({name for name in names if isinstance(name, str)}) != layout.classes:
        problems.append(f"{path}: {layout.names} are not the {layout.classes} names of the classes")
        return []
    return list(names)


def _checksums(layout: Layout) -> dict[str, str]:
    from torchvision import datasets

    reference = getattr(datasets, layout.reference)
    return {row[0]: row[1] for row in reference.train_list + reference.test_list}


def _matches(path: Path, md5: str) -> bool:
    from torchvision.datasets.utils import check_integrity

    return check_integrity(path, md5)
