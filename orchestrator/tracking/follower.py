"""Feed MLflow while a sweep runs, from a thread that the sweep never waits for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from pathlib import Path

from orchestrator.engine.quiet import Quiet
from orchestrator.spec.models import Tracking
from orchestrator.tracking.tracker import Report, Tracker

_LONGEST_WAIT = 60.0
_QUIET_WAIT = 10.0  # loading MLflow and a usual last pass take less


class Follower:
    """Syncs a sweep every `interval` seconds from now on, less and less often while MLflow does not answer.

    folder, name, tracking, code: as for `Tracker`, whose ValueError for an impossible address is raised here.
    say: called with one line, once, from the thread, if MLflow falls behind, and if closing takes long.
    Nothing else is ever raised, and only `close` waits, for as long as it is told."""

    def __init__(
        self, folder: Path, name: str, tracking: Tracking, say: Callable[[str], None], interval: float = 3.0,
        code: Collection[str] = (),
    ) -> None:  # fmt: skip
        self._tracker = Tracker(folder, name, tracking, code=code)
        self._say, self._interval = say, interval
        self._quiet = Quiet()
        self._closing = threading.Event()
        self._status = "FINISHED"
        self._last: Report | None = None
        # a daemon: a call that hangs must not keep the driver from ending
        self._thread = threading.Thread(target=self._follow, name="jackpot-tracking", daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        wait, told = self._interval, False
        status: str | None = "RUNNING"
        while not self._closing.is_set():
            with self._quiet.working():
                pass  # no pass begins while a latency is measured; one that hangs must not hold a measurement up
            report = self._tracker.sync(status=status)
            if report.message is None:
                wait, status = self._interval, None
            else:
                wait = min(2 * wait, _LONGEST_WAIT)
                if not told and not self._closing.is_set():
                    told = True
                    self._say(report.message)
            self._closing.wait(wait)
        self._last = self._tracker.sync(status=self._status)

    def close(self, timeout: float, status: str = "FINISHED") -> str | None:
        """Do a last pass and end the parent run as FINISHED, FAILED or KILLED, within `timeout` seconds or
        until Ctrl-C. Returns None if MLflow is up to date, else one line that says why not and how to catch up."""
        self._status = status
        self._closing.set()
        why = f"not done within {timeout:g} s"
        try:
            self._thread.join(min(timeout, _QUIET_WAIT))
            if self._thread.is_alive() and timeout > _QUIET_WAIT:
                self._say(f"all trials have ended; waiting up to {timeout:g} s for MLflow (Ctrl-C: do not wait)")
                self._thread.join(timeout - _QUIET_WAIT)
        except KeyboardInterrupt:
            why = "interrupted"
        if self._last is None:
            self._tracker.give_up()  # whoever called may go on, and do what it likes with the folder
            return self._tracker.behind(why)
        return self._last.message
