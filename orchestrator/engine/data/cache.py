"""Decoded images of a folder, kept as arrays on the local disk that all processes map into their memory."""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.engine.data.dataset import DataError, array_digest, moments
from orchestrator.engine.data.decode import decode
from orchestrator.engine.files import Corrupt, read_sealed, write_sealed

log = logging.getLogger(__name__)

Files = Mapping[str, list[list[str]]]
"""Split -> for each class its files, by path below the root."""


@dataclass(frozen=True)
class Cached:
    """A folder's decoded images, read-only, and what was measured while decoding."""

    images: dict[str, np.ndarray]
    """Split -> uint8 (N, H, W, 3), in the order of the files."""
    mean: tuple[float, ...]
    """Of train/, each channel, in 0..1."""
    std: tuple[float, ...]
    content: str
    """SHA-256 over all decoded images."""


def cache_folder() -> Path:
    """Where decoded data is kept: $JACKPOT_CACHE, or ~/.cache/jackpot/data."""
    return Path(os.environ.get("JACKPOT_CACHE") or Path.home() / ".cache" / "jackpot" / "data")


def cached(root: Path, files: Files, state: str) -> Cached:
    """The decoded images of `root`; decoded now if the cache does not hold this `state` of it. Several
    processes may ask at once: one decodes, the others wait for it. A damaged entry is set aside and made
    anew. Raises DataError if images cannot be decoded or the cache cannot be written."""
    entry = cache_folder() / state[:32]
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with _locked(entry.with_suffix(".lock")):
            if entry.exists():
                try:
                    return _read(entry)
                except Corrupt as damage:
                    _set_aside(entry, damage)
            _write(entry, root, files)
            return _read(entry)
    except OSError as error:
        raise DataError(
            f"{entry.parent}: the cache of decoded images cannot be used ({error.strerror or error}); "
            "free space there, or set JACKPOT_CACHE to another folder"
        ) from error


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # ends with the process, however it ends
        yield


def _set_aside(entry: Path, damage: Corrupt) -> None:
    aside = entry.with_name(f"{entry.name}.damaged-{uuid.uuid4().hex[:8]}")
    os.replace(entry, aside)
    log.warning("decoded images are damaged (%s); set aside as %s and decoded anew", damage, aside)


def _write(entry: Path, root: Path, files: Files) -> None:
    temporary = entry.with_name(f".{entry.name}.{uuid.uuid4().hex[:8]}.tmp")
    temporary.mkdir()
    try:
        began = time.monotonic()
        paths = {split: [root / name for own in classes for name in own] for split, classes in files.items()}
        converted = decode(paths, {split: temporary / f"{split}.npy" for split in paths})
        images = {split: np.load(temporary / f"{split}.npy", mmap_mode="r") for split in paths}
        mean, std = moments(images["train"])
        meta = {
            "root": str(root),
            "digests": {split: array_digest(array) for split, array in images.items()},
            "mean": mean,
            "std": std,
            "converted": converted,
        }
        write_sealed(temporary / "meta.json", meta)
        os.replace(temporary, entry)
        count = sum(map(len, paths.values()))
        log.info("decoded %d images of %s in %.0f s", count, root, time.monotonic() - began)
        if converted:
            log.info("images that were not RGB and became it, by mode: %s", converted)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _read(entry: Path) -> Cached:
    """Map an entry. Its bytes are summed once a process: a changed one would be trained on without a word."""
    try:
        meta: dict[str, Any] = read_sealed(entry / "meta.json")
        images = {split: np.load(entry / f"{split}.npy", mmap_mode="r") for split in meta["digests"]}
    except (FileNotFoundError, ValueError, EOFError) as error:
        raise Corrupt(f"{entry}: {error}") from error
    for split, array in images.items():
        if array_digest(array) != meta["digests"][split]:
            raise Corrupt(f"{entry / split}.npy: content does not match its checksum")
    content = hashlib.sha256(json.dumps(meta["digests"], sort_keys=True).encode()).hexdigest()
    return Cached(images, tuple(meta["mean"]), tuple(meta["std"]), content)
