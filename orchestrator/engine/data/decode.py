"""Image files into uint8 arrays of one size."""

from __future__ import annotations

import hashlib
import os
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from orchestrator.engine.data.dataset import SHOWN, DataError
from orchestrator.engine.data.moments import histogram

CHUNK = 100

FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP", "GIF")
"""What a file may hold, whatever its name ends with. Pillow knows more, and runs Ghostscript on what is PostScript."""

DEEP = ("I", "F")
"""How Pillow's names of 16 and 32 bits a channel begin. Made RGB they are clipped, to white for the most part."""


class Unreadable(Exception):
    """A file that gives no image; says which, and why."""


class TooDeep(Exception):
    """An image of more than 8 bits a channel; says which."""


@dataclass(frozen=True)
class Fit:
    """How an image comes to its size: its shorter side resized, then a square cut from its centre, each as
    torchvision's Resize and CenterCrop do; None leaves that step out."""

    resize: int | None = None
    side: int | None = None

    def __call__(self, image: Image.Image) -> Image.Image:
        if self.resize:
            short, long = sorted(image.size)
            sides = self.resize, int(self.resize * long / short)
            image = resized(image, sides if image.width <= image.height else sides[::-1])
        if self.side:
            left, top = (round((side - self.side) / 2) for side in image.size)
            image = image.crop((left, top, left + self.side, top + self.side))
        return image


def resized(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    """An image at another width and height: bilinear, smoothed where it shrinks, as torchvision does."""
    return image if image.size == size else image.resize(size, Image.Resampling.BILINEAR)


def read(path: Path, content: bytes | None = None) -> tuple[Image.Image, str]:
    """The image of a file (or of its bytes, read before) as RGB, as torchvision's loader makes it, and the mode it
    had. Raises Unreadable or TooDeep."""
    try:
        with Image.open(path if content is None else BytesIO(content), formats=FORMATS) as image:
            if image.mode.startswith(DEEP):
                raise TooDeep(f"{path} ({image.mode})")
            return image.convert("RGB"), image.mode
    # what Pillow raises for files that are no image, cut short, or broken inside
    except (OSError, ValueError, SyntaxError, EOFError, Image.DecompressionBombError) as error:
        raise Unreadable(f"{path} ({error})") from error


def first_size(paths: Sequence[Path], fit: Fit) -> tuple[int, int]:
    """Width and height of the first image that opens, fitted; (1, 1) if none does."""
    if fit.side:
        return fit.side, fit.side
    for path in paths:
        try:
            with Image.open(path, formats=FORMATS) as image:
                return image.size
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            continue
    return (1, 1)


@dataclass
class Pass:
    """One reading of all files of a data set, in threads: what was converted, and all that is wrong."""

    fit: Fit
    size: tuple[int, int]
    """Width and height that every image must have once fitted."""
    modes: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    deep: list[str] = field(default_factory=list)
    other_size: list[str] = field(default_factory=list)

    def image(self, path: Path, content: bytes | None = None) -> np.ndarray | None:
        """The image of a file, uint8 (H, W, 3); None where something is wrong with it."""
        try:
            image, mode = read(path, content)
        except Unreadable as error:
            self.unreadable.append(str(error))
            return None
        except TooDeep as error:
            self.deep.append(str(error))
            return None
        image = self.fit(image)
        if image.size != self.size:
            self.other_size.append(f"{path} is {image.width}x{image.height}")
            return None
        if mode != "RGB":
            self.modes.append(mode)
        return np.asarray(image)

    def chunks(self, count: int, work: Callable[[int], None]) -> None:
        """Call `work` with the start of every chunk of `count` files, in threads."""
        with ThreadPoolExecutor(os.cpu_count()) as threads, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of palettes and metadata; whether the pixels can be had is what counts
            for _ in threads.map(work, range(0, count, CHUNK)):
                pass

    def converted(self) -> dict[str, int]:
        """How many images were not RGB, by mode."""
        return dict(sorted(Counter(self.modes).items()))

    def refuse(self) -> None:
        """Raise DataError naming all that is wrong."""
        problems = []
        if self.unreadable:
            files = f"{len(self.unreadable)} image files cannot be read"
            problems.append(f"{files}: {_some(self.unreadable)}; replace or remove them")
        if self.deep:
            problems.append(
                f"{len(self.deep)} images have 16 or 32 bits a channel, which RGB would clip: {_some(self.deep)}; "
                "scale them to 8 bits"
            )
        if self.other_size:
            problems.append(
                f"{len(self.other_size)} images are not {self.size[0]}x{self.size[1]} as the first is: "
                f"{min(self.other_size)} (width x height); resize all images to one size, or give `size`"
            )
        if problems:
            raise DataError(*problems)


def _some(names: list[str]) -> str:
    return "; ".join(sorted(names)[:SHOWN]) + ("; ..." if len(names) > SHOWN else "")


def decode(paths: Mapping[str, Sequence[Path]], targets: Mapping[str, Path], fit: Fit) -> dict[str, int]:
    """Decode the images of each split into the .npy file at `targets[split]`: uint8 (N, H, W, 3), in order.
    All become RGB as torchvision's loader makes them. Returns how many were of another mode, by mode. Raises
    DataError naming files that cannot be read, or the first of another size."""
    size = first_size([path for own in paths.values() for path in own], fit)
    run = Pass(fit, size)
    for split, own in paths.items():
        target = np.lib.format.open_memmap(
            targets[split], mode="w+", dtype=np.uint8, shape=(len(own), size[1], size[0], 3)
        )
        with open(targets[split], "rb+") as file:  # on a full disk, writing into a map would kill the process
            os.posix_fallocate(file.fileno(), 0, os.path.getsize(targets[split]))

        def fill(start: int, own: Sequence[Path] = own, target: np.ndarray = target) -> None:
            for row, path in enumerate(own[start : start + CHUNK], start):
                image = run.image(path)
                if image is not None:
                    target[row] = image

        run.chunks(len(own), fill)
        target.flush()
    run.refuse()
    return run.converted()


@dataclass(frozen=True)
class Surveyed:
    """What a reading of all files found that keeps no image."""

    digests: dict[str, list[str]]
    """Split -> the SHA-256 of every file."""
    counts: np.ndarray
    """Of the training images, fitted: what `histogram` counts."""
    converted: dict[str, int]
    size: tuple[int, int]


def survey(paths: Mapping[str, Sequence[Path]], fit: Fit) -> Surveyed:
    """Read and decode every image once, keeping none, so that what is broken is named before anything trains.
    Raises DataError as `decode` does."""
    run = Pass(fit, first_size([path for own in paths.values() for path in own], fit))
    digests: dict[str, list[str]] = {split: [""] * len(own) for split, own in paths.items()}
    counted: list[np.ndarray] = [np.zeros((3, 256), np.int64)]
    for split, own in paths.items():

        def look(start: int, split: str = split, own: Sequence[Path] = own) -> None:
            found = []
            for row, path in enumerate(own[start : start + CHUNK], start):
                try:
                    content = path.read_bytes()
                except OSError as error:
                    run.unreadable.append(f"{path} ({error.strerror})")
                    continue
                digests[split][row] = hashlib.sha256(content).hexdigest()
                image = run.image(path, content)
                if image is not None:
                    found.append(image)
            if found and split == "train":
                counted.append(histogram(np.stack(found)))

        run.chunks(len(own), look)
    run.refuse()
    return Surveyed(digests, np.sum(counted, axis=0), run.converted(), run.size)
