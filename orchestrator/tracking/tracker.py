"""Bring MLflow up to date with a sweep's result files: an idempotent pass, to be repeated at will."""

from __future__ import annotations

import os
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.engine.files import Corrupt, digest, read_sealed
from orchestrator.engine.folder import address_of
from orchestrator.spec.models import Tracking
from orchestrator.tracking.about import environment, facts
from orchestrator.tracking.aggregate import Cell, cell_of
from orchestrator.tracking.client import quieten
from orchestrator.tracking.model import register
from orchestrator.tracking.record import Result
from orchestrator.tracking.schema import check_schema
from orchestrator.tracking.sweep_files import Stamp, SweepFiles, stamp
from orchestrator.tracking.where import TrackingError, discreet, exclusive, own_database, reachable, reason, uri_of
from orchestrator.tracking.window import NOTE, FilesLag, Window

# what MLflow answers when one request is at fault, and the next may well succeed
_FAULT_OF_ONE = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")
_BULKY = ("layers", "history", "chain", "correct", "latency")
"""Parts of a result that no mean is taken of."""
_ALIKE = ("params", "options", "host", "versions")
"""Parts that are the same in many results."""
_NOTE_LENGTH = 7500  # MLflow takes 8000 characters in a tag


@dataclass
class Report:
    """What a pass did."""

    logged: list[str] = field(default_factory=list)
    """Trials whose run was written."""
    skipped: list[str] = field(default_factory=list)
    """Trials whose run was up to date."""
    failed: dict[str, str] = field(default_factory=dict)
    """Trials that could not be written, and why; the others were."""
    message: str | None = None
    """Why the pass was broken off, or which trials failed, and how to catch up; None if all is up to date."""


@dataclass
class _Known:
    """What the runs of a sweep were seen to hold."""

    done: dict[str, Stamp] = field(default_factory=dict)
    """Trial -> its result file, as it was when written."""
    results: dict[str, tuple[Result, str]] = field(default_factory=dict)
    """Trial -> its result without the bulky parts, and its seal."""
    followed: dict[str, tuple[Any, int, Stamp]] = field(default_factory=dict)
    """Trial that runs -> its run, how many points of its course stand there, its events as they were then."""
    at_first: dict[str, list[Any]] | None = None
    """Trial -> its runs, all found at once; None after the first pass."""
    uncertain: set[str] = field(default_factory=set)
    """Trials that had runs at first, or could not be written: their runs are looked for."""
    parts: dict[str, Any] = field(default_factory=dict)
    """Parts of results that are the same in many, each kept once."""


class Tracker:
    """Keeps the runs of one sweep. Needs no server until `sync`. `code`: the `module:factory` of networks that may be
    built, for winners to become models.

    Raises ValueError if the spec or the environment names an impossible address."""

    def __init__(
        self, folder: Path, name: str, tracking: Tracking, patience: float = 10.0, code: Collection[str] = ()
    ) -> None:
        self.folder, self.name, self.code = Path(folder), name, code
        self._files = SweepFiles(self.folder)
        self.uri, self.experiment = uri_of(folder, tracking), tracking.experiment
        self.patience = patience
        self._window: Window | None = None
        self._known = _Known()
        self._given_up = False
        self._left: Stamp | None = None
        """The file that is held during a pass, as the last one of this tracker has left it."""
        self._alone = False
        """Whether nobody else has written runs since then."""

    def give_up(self) -> None:
        """Let a pass that runs in another thread end at its next step, as one that is behind, and no other begin."""
        self._given_up = True

    def _go_on(self) -> None:
        if self._given_up:
            raise TrackingError("not waited for any longer")

    def sync(self, status: str | None = None) -> Report:
        """Write the run of every trial that has a result, show how far the running ones are, and set the parent's
        status: RUNNING, FINISHED, FAILED or KILLED (default: leave it). Never raises for MLflow's sake: what is wrong
        stands in the report."""
        report = Report()
        try:
            self._go_on()
            with exclusive(self.folder, self.patience) as identity:
                held = self.folder / "tracking.id"
                # of a sweep in an object store, another machine holds another copy of the file
                self._alone = stamp(held) == self._left and address_of(self.folder) == str(self.folder)
                self._pass(identity, status, report)
                os.utime(held)
                self._left = stamp(held)
        except Exception as error:
            # whatever was known may be wrong now: runs deleted in the browser, a database replaced
            self._window, self._known = None, _Known()
            report.message = self.behind(reason(error))
        else:
            if report.failed:
                trial, why = next(iter(report.failed.items()))
                report.message = self.behind(f"{len(report.failed)} could not be written, first {trial}: {why}")
        return report

    @property
    def window(self) -> Window | None:
        """The sweep's runs, once a pass has found or made them."""
        return self._window

    def behind(self, why: str) -> str:
        """One line that says that the runs are not up to date, why, and how to catch up."""
        where = address_of(self.folder)
        text = f"MLflow ({self.uri}) is behind: {why}. Results are safe; `jackpot sync {where}` catches up"
        return discreet(text, self.uri)

    def _pass(self, identity: str, status: str | None, report: Report) -> None:
        window = self._open(identity)
        changed: set[Cell] = set()
        for trial, now in self._files.results().items():
            self._go_on()
            try:
                cell = self._settle(window, trial, now, report)
            except Exception as error:
                if not _fault_of_one(error):
                    raise
                report.failed[trial] = reason(error)
                self._known.uncertain.add(trial)
            else:
                changed |= {cell} if cell else set()
        self._go_on()
        self._average(window, changed)
        ended = status not in (None, "RUNNING")
        if ended:
            window.end_unfinished()
            self._known.uncertain |= set(self._known.followed)
            self._known.followed.clear()
        else:
            self._follow(window)
        self._known.uncertain |= set(self._known.at_first or ())
        self._known.at_first = None
        self._go_on()
        self._sweep(window, status, ended)
        self._go_on()
        if status in ("FINISHED", "FAILED"):  # who stopped a sweep does not wait for this
            self._register(window, report)

    def _open(self, identity: str) -> Window:
        if self._window is not None:
            self._window.unstored = None
            return self._window
        reachable(self.uri)
        quieten()  # before anything of MLflow's is loaded
        check_schema(self.uri, spare=self.uri == own_database(self.folder))
        several = len(self._files.networks()) > 1
        self._window = Window(self.folder, self.name, identity, self.uri, self.experiment, several)
        self._known.at_first = self._window.trials()
        return self._window

    def _settle(self, window: Window, trial: str, now: Stamp, report: Report) -> Cell | None:
        """Write a trial's run if its result, as it is now, is new; the cell whose mean that changes."""
        known = self._known
        if known.done.get(trial) == now:
            report.skipped.append(trial)
            return None
        try:
            result = read_sealed(self._files.result_path(trial))
        except FileNotFoundError:
            return None  # set aside to be computed again
        seal = digest(result)
        kept = {name: value for name, value in result.items() if name not in _BULKY}
        for name in _ALIKE:
            kept[name] = known.parts.setdefault(digest(kept.get(name)), kept.get(name))
        known.results[trial] = (kept, seal)
        written = window.record(result, seal, self._runs_of(window, trial), self._files.events(trial))
        (report.logged if written else report.skipped).append(trial)
        known.done[trial] = now
        known.followed.pop(trial, None)
        return cell_of(result)

    def _runs_of(self, window: Window, trial: str) -> list[Any]:
        """The active runs of a trial. Later passes look again, where a `jackpot sync` may have been here in between: to
        look for one trial's costs MLflow a pass over those of all."""
        known = self._known
        if known.at_first is not None:
            return known.at_first.get(trial, [])
        if self._alone and trial not in known.uncertain and trial not in known.done:
            return [known.followed[trial][0]] if trial in known.followed else []
        return window.trials(trial).get(trial, [])

    def _average(self, window: Window, changed: set[Cell]) -> None:
        """Write the means of the cells that have a new result, over the trials that the report counts: a result that
        an earlier spec or other code has left takes no part."""
        planned = self._files.planned_keys() if changed else None
        cells: dict[Cell, list[str]] = {}
        for trial, (result, _) in self._known.results.items():
            cell, counts = cell_of(result), planned is None or planned.get(trial) == result["key"]
            if cell in changed and cell is not None and counts:
                cells.setdefault(cell, []).append(trial)
        for cell, trials in cells.items():
            results, seals = zip(*(self._known.results[trial] for trial in trials), strict=True)
            window.record_cell(cell, results, seals)

    def _follow(self, window: Window) -> None:
        """Show how far the trials are that run now."""
        plan, known = self._files.plan(), self._known
        if not plan:
            return  # nothing says what runs now
        rows = {row["trial"]: row for row in plan.get("planned", [])}
        for trial, now in self._files.begun(known.done).items():
            run, shown, before = known.followed.get(trial, (None, 0, ()))
            if before == now or self._files.result_path(trial).exists():
                continue  # one that has ended since the pass began is written whole by the next
            events = self._files.events(trial)
            if not any(event.get("run") == plan["run"] for event in events if "begin" in event):
                continue  # it ran in an earlier run of the sweep, and has not begun again yet
            run = run or next(iter(self._runs_of(window, trial)), None)
            known.followed[trial] = (*window.follow(rows.get(trial, _proposal(trial)), run, events, shown), now)

    def _sweep(self, window: Window, status: str | None, ended: bool) -> None:
        """What stands on the run of the sweep itself: description, environment, files, status."""
        if status:
            window.set_status(status)
        results = [result for result, _ in self._known.results.values()]
        tags = facts(results) | environment(self._files.plan())
        if (summary := self._files.summary()) is not None:
            tags[NOTE] = _shortened(summary)
        window.describe(tags)
        if results:
            window.record_data(results)
        for path in self._files.attached(ended):
            window.attach(path)
        if ended and (numbers := self._files.search_summary()):
            window.record_search(numbers)

    def _register(self, window: Window, report: Report) -> None:
        """Register the winning tickets as models, those of the sweep as it stands now."""
        for winner in self._files.winners():
            try:
                register(window.client, window.runs, self.folder, winner, window.several_networks, self.code)
            except Exception as error:
                report.failed[f"the model of {winner['trial']}"] = reason(error)


def _proposal(trial: str) -> dict[str, Any]:
    """What is known of a trial that a search decided on, before its result: its run stands below the sweep's."""
    return {"trial": trial, "search": trial}


def _shortened(text: str) -> str:
    if len(text) <= _NOTE_LENGTH:
        return text
    return text[:_NOTE_LENGTH].rpartition("\n")[0] + "\n\n*The rest is in the artifact summary.md.*"


def _fault_of_one(error: Exception) -> bool:
    """Whether an error is about one trial alone: a value MLflow does not take, or a file that cannot be read or
    stored."""
    code = getattr(error, "error_code", None)
    return isinstance(error, (FilesLag, Corrupt)) or code in _FAULT_OF_ONE
