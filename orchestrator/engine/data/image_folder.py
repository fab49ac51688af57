"""A folder of images: train/ and test/, in each a folder a class."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from orchestrator.engine.data.cache import cached
from orchestrator.engine.data.dataset import DataError, DataSet, Split, hold_out
from orchestrator.engine.files import digest
from orchestrator.spec.models import ImageFolder

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Files with these endings are images, as in torchvision's ImageFolder; others are passed over."""

SPLITS = ("train", "test")
SHOWN = 5
CHANNELS = 3


@dataclass(frozen=True)
class Listing:
    """What a folder holds: its classes, and the image files of each, by path below the root."""

    root: Path
    classes: tuple[str, ...]
    files: dict[str, list[list[str]]]
    """Split -> for each class its files, sorted."""


def load_image_folder(data: ImageFolder) -> DataSet:
    """The images of a folder, all of one size, as RGB. They are decoded once a machine, into a cache that
    every process maps into its memory. Validation is drawn class by class from train/; the normalisation is
    measured on all of train/ unless the spec gives it. Raises DataError."""
    listing, problems = list_folder(data.root)
    problems += _normalisation_problems(data)
    if listing is None or problems:
        raise DataError(*problems)
    cache = cached(listing.root, listing.files, _state_of(listing))
    labels = {
        split: np.repeat(np.arange(len(listing.classes)), [len(files) for files in listing.files[split]])
        for split in SPLITS
    }
    train, validation = hold_out(
        np.arange(len(labels["train"])),
        labels["train"],
        data.validation,
        listing.classes,
        data.split_seed,
        "validation",
    )
    _, height, width, channels = cache.images["train"].shape
    return DataSet(
        name="image_folder",
        classes=listing.classes,
        shape=(channels, height, width),
        mean=data.mean or cache.mean,
        std=data.std or cache.std,
        train=Split(cache.images["train"], train, labels["train"][train]),
        validation=Split(cache.images["train"], validation, labels["train"][validation]),
        test=Split(cache.images["test"], np.arange(len(labels["test"])), labels["test"]),
        content=cache.content,
    )


def problems_of_folder(data: ImageFolder) -> list[str]:
    """What is wrong with a folder's structure and the normalisation; the images are not opened."""
    return list_folder(data.root)[1] + _normalisation_problems(data)


def list_folder(root: str) -> tuple[Listing | None, list[str]]:
    """What the folder holds, and what is wrong with its structure; None where there is nothing to list."""
    path = Path(root).expanduser().resolve()
    layout = "expected train/ and test/ in it, and in each a folder a class"
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        return None, [f"{path} {what}; give the folder of the images ({layout})"]
    missing = [f"{split}/" for split in SPLITS if not (path / split).is_dir()]
    if missing:
        held = ", ".join(sorted(os.listdir(path))[:SHOWN]) or "nothing"
        return None, [f"{path} has no {' and no '.join(missing)}; {layout}; it holds: {held}"]
    names = {split: sorted(entry.name for entry in os.scandir(path / split) if entry.is_dir()) for split in SPLITS}
    problems = [f"{path / split} holds no class folders; {layout}" for split in SPLITS if not names[split]]
    problems += [
        f"{path / split} holds one class folder, {names[split][0]!r}; a classification needs two or more"
        for split in SPLITS
        if len(names[split]) == 1
    ]
    if problems:
        return None, problems
    for split, other in (SPLITS, SPLITS[::-1]):
        if lone := [name for name in names[split] if name not in names[other]]:
            problems.append(
                f"{path}: {len(lone)} classes of {split}/ are not in {other}/: {_listed(lone)}; "
                "both need the same class folders"
            )
    files = {split: [_images(path, f"{split}/{name}") for name in names[split]] for split in SPLITS}
    for split in SPLITS:
        if empty := [name for name, own in zip(names[split], files[split], strict=True) if not own]:
            problems.append(
                f"{path / split}: {len(empty)} class folders hold no images: {_listed(empty)}; add images "
                f"({' '.join(EXTENSIONS)}) or remove the folders"
            )
    return Listing(path, tuple(names["train"]), files), problems


def _images(root: Path, below: str) -> list[str]:
    found = [
        os.path.relpath(os.path.join(folder, name), root)
        for folder, _, names in os.walk(root / below, followlinks=True)
        for name in names
        if name.lower().endswith(EXTENSIONS)
    ]
    return sorted(found)


def _listed(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def _state_of(listing: Listing) -> str:
    """What the cache is known by: a hash over the folder's place and every file's path, size and time."""
    stats = []
    for classes in listing.files.values():
        for name in (name for files in classes for name in files):
            try:
                stat = os.stat(listing.root / name)
            except OSError as error:
                raise DataError(f"{listing.root / name}: cannot be read ({error.strerror}); remove it") from error
            stats.append([name, stat.st_size, stat.st_mtime_ns])
    return digest([str(listing.root), stats])


def _normalisation_problems(data: ImageFolder) -> list[str]:
    problems = []
    for name, values in (("mean", data.mean), ("std", data.std)):
        if values is None:
            continue
        if len(values) != CHANNELS:
            problems.append(f"{name}: expected {CHANNELS} numbers (red, green, blue), found {len(values)}")
        if not all(0 <= value <= 1 for value in values) or (name == "std" and 0 in values):
            bounds = "above 0 and not above 1" if name == "std" else "in 0..1"
            problems.append(f"{name}: expected numbers {bounds}, of pixel values in 0..1; divide by 255 if need be")
    return problems
