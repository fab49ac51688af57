"""Decoded images, kept as arrays on the local disk that all processes map into their memory."""

from __future__ import annotations

import fcntl
import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from orchestrator.engine.data.dataset import DataError, array_digest
from orchestrator.engine.files import Corrupt, digest, read_sealed, write_sealed
from orchestrator.engine.room import make_room, making, use

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Entry:
    """Arrays of the cache, read-only, and what was found out while they were made."""

    arrays: dict[str, np.ndarray]
    meta: dict[str, Any]
    content: str
    """SHA-256 over all arrays."""


def cache_folder() -> Path:
    """Where decoded data is kept: $JACKPOT_CACHE, or ~/.cache/jackpot/data."""
    return Path(os.environ.get("JACKPOT_CACHE") or Path.home() / ".cache" / "jackpot" / "data")


def cached(state: str, what: str, make: Callable[[Path], dict[str, Any]]) -> Entry:
    """The entry `state`, a hash of all that it is made from; made now if the cache does not hold it. `make` writes
    NAME.npy files into the folder it is given and returns what else to keep, as JSON can hold it; `what` says in
    the log what it does. Several processes may ask at once: one makes it, the others wait. A damaged entry is set
    aside and made anew. Raises DataError if the cache cannot be written, and what `make` raises."""
    entry = cache_folder() / state[:32]
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        with locked(entry.with_suffix(".lock")):
            use(entry)  # before it is looked for: it must not be removed in between
            if entry.exists():
                try:
                    return _read(entry)
                except Corrupt as damage:
                    _set_aside(entry, damage)
            _write(entry, what, make)
            make_room(entry.parent)
            return _read(entry)
    except OSError as error:
        raise DataError(
            f"{entry.parent}: the cache of decoded images cannot be used ({error.strerror or error}); "
            "free space there, or set JACKPOT_CACHE to another folder"
        ) from error


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process at a time into the block, by a lock on the file `path`."""
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # ends with the process, however it ends
        yield


def _set_aside(entry: Path, damage: Corrupt) -> None:
    aside = entry.with_name(f"{entry.name}.damaged-{uuid.uuid4().hex[:8]}")
    os.replace(entry, aside)
    log.warning("decoded images are damaged (%s); set aside as %s and decoded anew", damage, aside)


def _write(entry: Path, what: str, make: Callable[[Path], dict[str, Any]]) -> None:
    began = time.monotonic()
    log.info("%s, once; kept in %s", what, entry)
    with making(entry) as temporary:
        meta = make(temporary)
        arrays = {path.stem: np.load(path, mmap_mode="r") for path in sorted(temporary.glob("*.npy"))}
        digests = {name: array_digest(array) for name, array in arrays.items()}
        write_sealed(temporary / "meta.json", {**meta, "digests": digests})
    log.info("%s took %.0f s", what, time.monotonic() - began)


def _read(entry: Path) -> Entry:
    """Map an entry. Its bytes are summed once a process: a changed one would be trained on without a word."""
    try:
        meta = read_sealed(entry / "meta.json")
        arrays = {name: np.load(entry / f"{name}.npy", mmap_mode="r") for name in meta["digests"]}
    except (FileNotFoundError, ValueError, EOFError) as error:
        raise Corrupt(f"{entry}: {error}") from error
    for name, array in arrays.items():
        if array_digest(array) != meta["digests"][name]:
            raise Corrupt(f"{entry / name}.npy: content does not match its checksum")
    return Entry(arrays, meta, digest(meta["digests"]))
