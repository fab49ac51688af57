"""Data sets that are image files, a list of them for each class: decoded once, or streamed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.engine.data.cache import Entry, cached
from orchestrator.engine.data.dataset import DataError, DataSet, Images, assemble, listed, normalisation_problems
from orchestrator.engine.data.decode import Fit, decode, first_size, survey
from orchestrator.engine.data.moments import moments, moments_of
from orchestrator.engine.data.stream import Streamed
from orchestrator.engine.files import digest
from orchestrator.spec.data import Normalised

EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Files with these endings are images, as in torchvision's ImageFolder; others are passed over."""

CACHED_BYTES = 32 << 30
"""Images that take more than this decoded are streamed, where the spec does not say."""

CHANNELS = 3


@dataclass(frozen=True)
class Listing:
    """What a data set holds: its classes, and the image files of each, by path below the root."""

    root: Path
    classes: tuple[str, ...]
    files: dict[str, list[list[str]]]
    """"train" and "test" -> for each class its files, sorted."""

    def names(self, split: str) -> list[str]:
        """The files of a split, class by class."""
        return [name for own in self.files[split] for name in own]

    def paths(self) -> dict[str, list[Path]]:
        """Split -> the paths of its files, class by class."""
        return {split: [self.root / name for name in self.names(split)] for split in self.files}


def load_files(
    data: Normalised,
    listing: Listing | None,
    problems: Sequence[str],
    fit: Fit,
    stream: bool | None = None,
    whole: bool = False,
) -> DataSet:
    """The data set of listed files, as RGB, fitted to one size. They are decoded once a machine into a cache that
    every process maps into its memory, or read batch by batch if `stream` (default: only where they are too large);
    with `whole`, random cuts are then made from the whole image. Raises DataError with `problems` and its own."""
    problems = [*problems, *normalisation_problems(data, CHANNELS)]
    if listing is None or problems:
        raise DataError(*problems)
    state = [str(listing.root), _stats(listing), asdict(fit)]
    paths = listing.paths()
    if stream is None:
        width, height = first_size([path for own in paths.values() for path in own], fit)
        stream = sum(map(len, paths.values())) * width * height * CHANNELS > CACHED_BYTES
    labels = {
        split: np.repeat(np.arange(len(listing.classes)), [len(files) for files in classes])
        for split, classes in listing.files.items()
    }
    if stream:
        entry, images = _streamed(state, listing, paths, fit, whole)
    else:
        entry, images = _decoded(state, listing, paths, fit)
    mean, std = entry.meta["mean"], entry.meta["std"]
    return assemble(
        data,
        listing.classes,
        (images["train"], labels["train"]),
        (images["test"], labels["test"]),
        (data.mean or tuple(mean), data.std or tuple(std)),
        entry.meta.get("content", entry.content),
        _notes(listing.root, entry.meta["converted"]),
    )


def _decoded(state: list, listing: Listing, paths: dict[str, list[Path]], fit: Fit) -> tuple[Entry, dict[str, Images]]:
    def make(folder: Path) -> dict[str, Any]:
        converted = decode(paths, {split: folder / f"{split}.npy" for split in paths}, fit)
        mean, std = moments(np.load(folder / "train.npy", mmap_mode="r"))
        return {"root": str(listing.root), "mean": mean, "std": std, "converted": converted}

    count = sum(map(len, paths.values()))
    entry = cached(digest([*state, "decoded"]), f"decoding {count:,} images of {listing.root}", make)
    return entry, {split: entry.arrays[split] for split in paths}


def _streamed(
    state: list, listing: Listing, paths: dict[str, list[Path]], fit: Fit, whole: bool
) -> tuple[Entry, dict[str, Images]]:
    def make(_: Path) -> dict[str, Any]:
        found = survey(paths, fit)
        mean, std = moments_of(found.counts)
        sums = {split: [*zip(listing.names(split), own, strict=True)] for split, own in found.digests.items()}
        return {
            "root": str(listing.root),
            "mean": mean,
            "std": std,
            "converted": found.converted,
            "content": digest([sums, asdict(fit), whole]),
            "size": found.size,
        }

    count = sum(map(len, paths.values()))
    entry = cached(digest([*state, "streamed", whole]), f"reading {count:,} images of {listing.root}", make)
    return entry, {
        split: Streamed(listing.root, listing.names(split), fit, tuple(entry.meta["size"]), whole) for split in paths
    }


def _stats(listing: Listing) -> list:
    """Path, size and time of every file: what the cache is known by."""
    stats = []
    for split in listing.files:
        for name in listing.names(split):
            try:
                stat = os.stat(listing.root / name)
            except OSError as error:
                raise DataError(f"{listing.root / name}: cannot be read ({error.strerror}); remove it") from error
            stats.append([name, stat.st_size, stat.st_mtime_ns])
    return stats


def _notes(root: Path, converted: dict[str, int]) -> list[str]:
    if not converted:
        return []
    modes = ", ".join(f"{count:,} {mode}" for mode, count in converted.items())
    return [f"{sum(converted.values()):,} images of {root} were not RGB ({modes}) and were converted"]


def list_folder(root: str, layout: str, train: str = "train", test: str = "test") -> tuple[Listing | None, list[str]]:
    """What a folder of TRAIN/CLASS/ and TEST/CLASS/ holds, and what is wrong with its structure; None where there
    is nothing to list. `layout`: what was expected, in words."""
    path, problems = find_root(root, (f"{train}/", f"{test}/"), layout)
    if problems:
        return None, problems
    folders = (train, test)
    names = {folder: sorted(entry.name for entry in os.scandir(path / folder) if entry.is_dir()) for folder in folders}
    problems = [f"{path / folder} holds no class folders; {layout}" for folder in folders if not names[folder]]
    problems += [
        f"{path / folder} holds one class folder, {names[folder][0]!r}; a classification needs two or more"
        for folder in folders
        if len(names[folder]) == 1
    ]
    if problems:
        return None, problems
    for folder, other in (folders, folders[::-1]):
        if lone := [name for name in names[folder] if name not in set(names[other])]:
            problems.append(
                f"{path}: {len(lone)} classes of {folder}/ are not in {other}/: {listed(lone)}; "
                "both need the same class folders"
            )
    files = {folder: [images_below(path, f"{folder}/{name}") for name in names[folder]] for folder in folders}
    for folder in folders:
        if empty := [name for name, own in zip(names[folder], files[folder], strict=True) if not own]:
            problems.append(no_images(path / folder, empty))
    return Listing(path, tuple(names[train]), {"train": files[train], "test": files[test]}), problems


def find_root(root: str, needed: Sequence[str], layout: str) -> tuple[Path, list[str]]:
    """The folder of a data set, and what is missing of it: `needed` files, and folders where they end with /."""
    path = Path(root).expanduser().resolve()
    if not path.is_dir():
        what = "is a file" if path.exists() else "does not exist"
        return path, [f"{path} {what}; give the folder of the images ({layout})"]
    missing = [
        name for name in needed if not ((path / name).is_dir() if name.endswith("/") else (path / name).is_file())
    ]
    if missing:
        held = listed(sorted(os.listdir(path))).removesuffix(", ...") or "nothing"
        return path, [f"{path} has no {' and no '.join(missing)}; {layout}; it holds: {held}"]
    return path, []


def no_images(path: Path, empty: Sequence[str]) -> str:
    """Says which class folders are empty."""
    return (
        f"{path}: {len(empty)} class folders hold no images: {listed(empty)}; add images "
        f"({' '.join(EXTENSIONS)}) or remove the folders"
    )


def images_below(root: Path, below: str) -> list[str]:
    """The image files in a folder below `root` and its folders, sorted, by path below `root`."""
    found, seen = [], set()
    for folder, folders, names in os.walk(root / below, followlinks=True):
        if (real := os.path.realpath(folder)) in seen:  # links may lead round in circles
            folders.clear()
            continue
        seen.add(real)
        found += [
            os.path.relpath(os.path.join(folder, name), root) for name in names if name.lower().endswith(EXTENSIONS)
        ]
    return sorted(found)
