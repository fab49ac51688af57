"""Silence on a machine while a latency is measured: whoever works pauses, whoever measures is alone.

Two locks of the kernel's, shared by all processes of a user on a machine, of whichever sweep. Work holds the room's
lock together with other work; a measurement holds it alone. Before work enters the room, or goes on in it, it passes
the door: a measurement that waits keeps the door shut, so that endless work cannot keep it waiting. Both locks end
with the process that holds them.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

LOOK_SECONDS = 0.01
"""How often one who waits tries again."""


class Quiet:
    """One worker's part in it. `check` is called while it waits, and what it raises ends the waiting."""

    def __init__(self, check: Callable[[], None] = lambda: None, folder: Path | None = None) -> None:
        folder = folder or Path(tempfile.gettempdir())
        # for one user: another's files could not be opened
        self._door, self._room = (
            open(folder / f"jackpot-{os.getuid()}-{name}.lock", "a")  # noqa: SIM115  held as long as this object
            for name in ("door", "room")
        )
        self._check = check
        self.paused = 0.0
        """Seconds that work has stood still for measurements."""

    @contextmanager
    def working(self) -> Iterator[None]:
        """Work that a measurement must not hear: waits until none is going on."""
        self._enter()
        try:
            yield
        finally:
            fcntl.flock(self._room, fcntl.LOCK_UN)

    def wanted(self) -> bool:
        """Whether a measurement waits for silence; asked between two pieces of work."""
        if not _locked(self._door, fcntl.LOCK_SH):
            return True
        fcntl.flock(self._door, fcntl.LOCK_UN)
        return False

    def pause(self) -> None:
        """Within `working`: let a measurement that waits go first."""
        fcntl.flock(self._room, fcntl.LOCK_UN)
        self._enter()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Nobody else works meanwhile."""
        try:
            self._wait(self._door, fcntl.LOCK_EX)
            self._wait(self._room, fcntl.LOCK_EX)
            yield
        finally:
            fcntl.flock(self._room, fcntl.LOCK_UN)
            fcntl.flock(self._door, fcntl.LOCK_UN)

    def _enter(self) -> None:
        began = time.monotonic()
        self._wait(self._door, fcntl.LOCK_SH)
        try:
            self._wait(self._room, fcntl.LOCK_SH)
        finally:
            fcntl.flock(self._door, fcntl.LOCK_UN)
        self.paused += time.monotonic() - began

    def _wait(self, file: object, how: int) -> None:
        while not _locked(file, how):
            self._check()
            time.sleep(LOOK_SECONDS)


def _locked(file: object, how: int) -> bool:
    try:
        fcntl.flock(file, how | fcntl.LOCK_NB)  # type: ignore[arg-type]  # a file
    except BlockingIOError:
        return False
    return True
