"""Room on a machine's disk for what it keeps copies of: the least recently used goes first, never what is in use."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from orchestrator.engine.files import size

log = logging.getLogger(__name__)

LIMIT = "JACKPOT_CACHE_GIB"
SHARE = 0.5
"""Of its disk that a cache may take, where JACKPOT_CACHE_GIB does not say how much."""
NESTED = ("copies", "sweeps")
"""Folders of a cache that hold entries; all others are entries."""
_in_use: dict[Path, IO[str]] = {}


def limit_bytes(cache: Path) -> int:
    """How large a cache may become. Raises OSError where JACKPOT_CACHE_GIB is no number."""
    said = os.environ.get(LIMIT)
    if said:
        try:
            return int(float(said) * 2**30)
        except ValueError as error:
            raise OSError(errno.EINVAL, f"{LIMIT}={said}: expected a number of GiB") from error
    return int(SHARE * shutil.disk_usage(cache).total)


def use(entry: Path) -> None:
    """Keep an entry from being removed as long as this process lives, and remember that it was used now."""
    if entry not in _in_use:
        file = open(_lock(entry), "a")  # noqa: SIM115  held as long as the process
        fcntl.flock(file, fcntl.LOCK_SH)
        _in_use[entry] = file
    with contextlib.suppress(FileNotFoundError):
        os.utime(entry)


@contextmanager
def making(entry: Path) -> Iterator[Path]:
    """A temporary folder for what is to become an entry, which nobody takes meanwhile for one that a killed process has
    left; renamed to the entry when the block ends well, and not there any more otherwise."""
    temporary = entry.with_name(f".{entry.name}.{uuid.uuid4().hex[:8]}.tmp")
    with open(_lock(temporary), "a") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        try:
            temporary.mkdir()
            yield temporary
            os.replace(temporary, entry)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            _lock(temporary).unlink(missing_ok=True)


def make_room(cache: Path, needed: int = 0) -> int:
    """Remove entries of a cache, the least recently used first, until it and `needed` more bytes are within its limit;
    the bytes removed. What is in use stays, so it may be too little."""
    entries = [path for path in cache.iterdir() if path.is_dir() and path.name not in NESTED]
    entries += [path for name in NESTED for path in (cache / name).glob("*") if path.is_dir()]
    sizes = {entry: size(entry) for entry in entries}
    excess = sum(sizes.values()) + needed - limit_bytes(cache)
    freed = 0
    for entry in sorted(entries, key=_last_used):
        if freed >= excess:
            break
        if _remove(entry):
            freed += sizes[entry]
            log.info("%s: removed from the cache to make room (%.2f GiB)", entry, sizes[entry] / 2**30)
    return freed


def _last_used(entry: Path) -> float:
    try:
        return entry.stat().st_mtime
    except FileNotFoundError:
        return time.time()


def _remove(entry: Path) -> bool:
    """Remove an entry that nobody uses."""
    with open(_lock(entry), "a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        aside = entry.with_name(f".{entry.name}.{uuid.uuid4().hex[:8]}.gone")  # at once, or not at all
        try:
            os.rename(entry, aside)
        except FileNotFoundError:
            return False
        shutil.rmtree(aside, ignore_errors=True)
    return True


def _lock(entry: Path) -> Path:
    return entry.with_name(f".{entry.name}.used.lock")
