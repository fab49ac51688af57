"""Image files into one uint8 array."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from orchestrator.engine.data.dataset import DataError

SHOWN = 5
CHUNK = 500


def decode(paths: Mapping[str, Sequence[Path]], targets: Mapping[str, Path]) -> dict[str, int]:
    """Decode the images of each split into the .npy file at `targets[split]`: uint8 (N, H, W, 3), in order.
    All become RGB as torchvision's loader makes them, and must have one size. Returns how many were of
    another mode, by mode. Raises DataError naming files that cannot be read, or the first of another size."""
    size = _first_size([path for own in paths.values() for path in own])
    converted: Counter[str] = Counter()
    unreadable: list[str] = []
    other_size: list[str] = []
    with ThreadPoolExecutor(os.cpu_count()) as threads, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of palettes and metadata; whether the pixels can be had is what counts
        for split, own in paths.items():
            target = np.lib.format.open_memmap(
                targets[split], mode="w+", dtype=np.uint8, shape=(len(own), size[1], size[0], 3)
            )
            with open(targets[split], "rb+") as file:  # on a full disk, writing into a map would kill the process
                os.posix_fallocate(file.fileno(), 0, os.path.getsize(targets[split]))

            def fill(start: int, own: Sequence[Path] = own, target: np.ndarray = target) -> Counter[str]:
                part = own[start : start + CHUNK]
                return _fill(part, target[start : start + CHUNK], size, unreadable, other_size)

            for modes in threads.map(fill, range(0, len(own), CHUNK)):
                converted += modes
            target.flush()
    _refuse(unreadable, other_size, size)
    return dict(sorted(converted.items()))


def _first_size(paths: Sequence[Path]) -> tuple[int, int]:
    """Width and height of the first image that opens; (1, 1) if none does, so that decoding lists them."""
    for path in paths:
        try:
            with Image.open(path) as image:
                return image.size
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            continue
    return (1, 1)


def _fill(
    paths: Sequence[Path],
    rows: np.ndarray,
    size: tuple[int, int],
    unreadable: list[str],
    other_size: list[str],
) -> Counter[str]:
    modes: Counter[str] = Counter()
    for path, row in zip(paths, rows, strict=True):
        try:
            with Image.open(path) as image:
                if image.size != size:
                    other_size.append(f"{path} is {image.width}x{image.height}")
                    continue
                if image.mode != "RGB":
                    modes[image.mode] += 1
                row[:] = np.asarray(image.convert("RGB"))
        # what Pillow raises for files that are no image, cut short, or broken inside
        except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
            unreadable.append(f"{path} ({error})")
    return modes


def _refuse(unreadable: list[str], other_size: list[str], size: tuple[int, int]) -> None:
    problems = []
    if unreadable:
        shown = "; ".join(sorted(unreadable)[:SHOWN]) + ("; ..." if len(unreadable) > SHOWN else "")
        problems.append(f"{len(unreadable)} image files cannot be read: {shown}; replace or remove them")
    if other_size:
        problems.append(
            f"{len(other_size)} images are not {size[0]}x{size[1]} as the first is: {min(other_size)} (width "
            "x height); resize all images to one size"
        )
    if problems:
        raise DataError(*problems)
