"""How a driver that was told to stop gets away in time, whatever hangs."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable

STOP_SECONDS = 3.5
"""How long workers get to keep their checkpoints before the driver leaves all the same."""

TRACKING_SECONDS, STOPPED_SECONDS = 60.0, 10.0
"""How long the last results may take to reach MLflow, and in a sweep that was told to stop; what is late is brought by
`jackpot sync`."""


class Leaving:
    """The end of a driver's process, where it is the driver's to end: that of a command.

    may: whether it is. close: puts away what is shown. last_word: what is printed then. `storage`: a folder to
    remove."""

    def __init__(self, may: bool, close: Callable[[], None], last_word: Callable[[], str]) -> None:
        self.may, self.storage = may, ""
        self._close, self._last_word = close, last_word
        self._by: float | None = None
        self._clock: threading.Timer | None = None

    def soon(self) -> None:
        """Leave after STOP_SECONDS, counted from the first call."""
        if self._by is None:
            self._by = time.monotonic() + STOP_SECONDS
            self._clock = timer(STOP_SECONDS, self.now) if self.may else None

    def now(self) -> None:
        """Leave. Ray's processes end with the driver that started them."""
        if not self.may:
            return
        try:
            self._close()
            shutil.rmtree(self.storage, ignore_errors=True)
            print(self._last_word(), flush=True)
        finally:
            os._exit(130)

    def cancel(self) -> None:
        """Stay: all has ended in time."""
        if self._clock:
            self._clock.cancel()

    def patience(self, interrupted: bool) -> float:
        """Seconds that the last results may still take to reach MLflow."""
        if self._by is not None:
            return max(0.3, self._by - time.monotonic())
        return STOPPED_SECONDS if interrupted else TRACKING_SECONDS


def timer(seconds: float, call: Callable[[], None]) -> threading.Timer:
    """A running clock that keeps no process alive."""
    made = threading.Timer(seconds, call)
    made.daemon = True
    made.start()
    return made
