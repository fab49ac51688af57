"""Bringing to an object store, now and then, what a sweep writes on this machine, and here what others write there.
For a folder that all machines see there is nothing to do."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from orchestrator.engine.folder import SweepFolder

log = logging.getLogger(__name__)

EVERY_SECONDS = 5.0


@contextmanager
def regularly(call: Callable[[], object], name: str, seconds: float = EVERY_SECONDS) -> Iterator[None]:
    """While the block runs, call `call` every few seconds in a thread of its own."""
    over = threading.Event()

    def loop() -> None:
        while not over.wait(seconds):
            try:
                call()
            except Exception as error:  # the next time, or whoever needs it, will say more
                log.warning("%s: %s", name, error)

    thread = threading.Thread(target=loop, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def pushing(folder: SweepFolder, trial: str) -> Iterator[None]:
    """Let others see what a trial writes here, now and then while it runs, and all of it at the end."""
    if folder.shared:
        yield
        return
    with regularly(lambda: folder.push(trial), "pushing"):
        yield
    folder.push(trial)
