"""Data in an object store, copied once to each machine that reads them."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from orchestrator.engine.data.cache import cache_folder, locked
from orchestrator.engine.data.dataset import DataError
from orchestrator.engine.files import digest
from orchestrator.engine.remote import Remote
from orchestrator.engine.room import make_room, making, use

log = logging.getLogger(__name__)

AT_ONCE = 32


def local_copy(url: str) -> Path:
    """The folder on this machine with the files that lie below a URL now, copied if it does not hold them yet. Several
    processes may ask at once: one copies, the others wait. Raises DataError where they cannot be read or kept."""
    remote = Remote(url)
    try:
        there = remote.objects()
        if not there:
            raise DataError(f"{url}: nothing lies there; check the address")
        entry = cache_folder() / "copies" / digest([url, {name: known.tag for name, known in there.items()}])[:32]
        entry.parent.mkdir(parents=True, exist_ok=True)
        with locked(entry.with_suffix(".lock")):
            use(entry)  # before it is looked for: it must not be removed in between
            if not entry.exists():
                total = sum(known.size for known in there.values())
                make_room(cache_folder(), total)
                _copy(remote, list(there), entry, total)
                use(entry)
    except OSError as error:
        raise DataError(
            f"{url}: cannot be copied to this machine ({error.strerror or error}); check the address and the "
            "credentials, and the room that JACKPOT_CACHE has"
        ) from error
    return entry


def _copy(remote: Remote, names: list[str], entry: Path, total: int) -> None:
    log.info("copying %s, %d files, %.2f GiB, once; kept in %s", remote.url, len(names), total / 2**30, entry)
    with making(entry) as temporary, ThreadPoolExecutor(AT_ONCE) as pool:
        for whole in pool.map(lambda name: remote.fetch(name, temporary / name), names):
            if not whole:
                raise OSError(f"{remote.url}: its files change while they are copied")
