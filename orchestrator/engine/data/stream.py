"""Images read from their files each time they are asked for, by threads and ahead of the training."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from orchestrator.engine.data.augment import Cuts
from orchestrator.engine.data.dataset import DataError, Images, Lazy
from orchestrator.engine.data.decode import Fit, TooDeep, Unreadable, read, resized

AHEAD = 2
"""Batches that are being read while one is trained on."""

TASK = 8
"""Images that a thread reads at a time."""

T = TypeVar("T")


class Streamed(Lazy):
    """The images of files, each fitted to one size; with cuts, a part of the whole image resized to it."""

    streams = True

    def __init__(self, root: Path, files: Sequence[str], fit: Fit, size: tuple[int, int], whole: bool) -> None:
        self.root, self.files, self.fit, self.size, self.whole = root, files, fit, size, whole
        self.shape = (len(files), size[1], size[0], 3)

    def begin(self, rows: np.ndarray, cuts: Cuts | None = None) -> Callable[[], np.ndarray]:
        """See Lazy."""
        out = np.empty((len(rows), *self.shape[1:]), np.uint8)

        def fill(start: int) -> None:
            for place in range(start, min(start + TASK, len(rows))):
                out[place] = self._read(self.root / self.files[rows[place]], cuts, place)

        threads = _threads(workers())
        reading = [threads.submit(fill, start) for start in range(0, len(rows), TASK)]

        def finish() -> np.ndarray:
            for each in reading:
                each.result()
            return out

        return finish

    def _read(self, path: Path, cuts: Cuts | None, place: int) -> np.ndarray:
        try:
            image, _ = read(path)
        except (Unreadable, TooDeep) as error:
            raise DataError(
                f"{error}: cannot be read any more; put it back, then run the same command again"
            ) from error
        if cuts is None:
            image = self.fit(image)
        else:
            top, left, height, width = cuts.of(place, image.height, image.width)
            image = resized(image.crop((left, top, left + width, top + height)), self.size)
        if image.size != self.size:
            raise DataError(f"{path} is {image.width}x{image.height} now; put the file back that was there before")
        return np.asarray(image)


def begin(images: Images, rows: np.ndarray, cuts: Cuts | None = None) -> Callable[[], np.ndarray]:
    """Begin to make the images of these rows; of an array they are taken when the call returned is made."""
    return images.begin(rows, cuts) if isinstance(images, Lazy) else lambda: images[rows]


def ahead(begun: Iterable[Callable[[], T]]) -> Iterator[T]:
    """What each of these calls gives, in order, with the next ones begun before one is waited for."""
    waiting: deque[Callable[[], T]] = deque()
    for each in begun:
        waiting.append(each)
        if len(waiting) > AHEAD:
            yield waiting.popleft()()
    while waiting:
        yield waiting.popleft()()


def workers() -> int:
    """Threads that read images: as many as the trial computes with (`resources.cpu`). What they read is the same
    whatever their number."""
    return torch.get_num_threads()


@lru_cache(maxsize=1)
def _threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="images")
