"""Bring MLflow up to date with a sweep's result files: an idempotent pass, to be repeated at will."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.engine.files import Corrupt, digest, read_sealed
from orchestrator.spec.models import Tracking
from orchestrator.tracking.where import exclusive, reason, uri_of
from orchestrator.tracking.window import FilesLag, Window

# what MLflow answers when one request is at fault, and the next may well succeed
_FAULT_OF_ONE = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST")


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


class Tracker:
    """Keeps the runs of one sweep. Needs no server until `sync`.

    Raises ValueError if the spec or the environment names an impossible address."""

    def __init__(self, folder: Path, name: str, tracking: Tracking, patience: float = 10.0) -> None:
        self.folder, self.name = Path(folder), name
        self.uri, self.experiment = uri_of(folder, tracking), tracking.experiment
        self.patience = patience
        self._window: Window | None = None
        self._done: dict[str, tuple[int, ...]] = {}  # trial -> the result file, as it was when written

    def sync(self, trials: Iterable[str] | None = None, status: str | None = None) -> Report:
        """Write the run of each given trial (default: of every trial) that has a result, and set the
        parent's status: RUNNING, FINISHED, FAILED or KILLED (default: leave it). Never raises for MLflow's
        sake: what is wrong stands in the report."""
        report = Report()
        try:
            with exclusive(self.folder, self.patience) as identity:
                self._pass(identity, trials, status, report)
        except Exception as error:
            # whatever was known may be wrong now: runs deleted in the browser, a database replaced
            self._window, self._done = None, {}
            report.message = self.behind(reason(error))
        else:
            if report.failed:
                trial, why = next(iter(report.failed.items()))
                report.message = self.behind(f"{len(report.failed)} trials could not be written, first {trial}: {why}")
        return report

    def link(self, base: str) -> str | None:
        """The page of the parent run under a server's address, once a pass has found or made the run."""
        if self._window is None:
            return None
        experiment, run = self._window.experiment, self._window.parent.info.run_id
        return f"{base.rstrip('/')}/#/experiments/{experiment}/runs/{run}"

    def behind(self, why: str) -> str:
        """One line that says that the runs are not up to date, why, and how to catch up."""
        text = f"MLflow ({self.uri}) is behind: {why}. Results are safe; `jackpot sync {self.folder}` catches up"
        return re.sub(r"://[^/@\s]+@", "://", text)  # no password on a screen or in a log

    def _pass(self, identity: str, trials: Iterable[str] | None, status: str | None, report: Report) -> None:
        known = None
        if self._window is not None:
            self._window.unstored = None
        else:
            self._window = Window(self.folder, self.name, identity, self.uri, self.experiment)
            known = self._window.runs()
        for trial in self._trials() if trials is None else trials:
            try:
                self._settle(self._window, trial, known, report)
            except Exception as error:
                if not _fault_of_one(error):
                    raise
                report.failed[trial] = reason(error)
        if status:
            self._window.set_status(status)
        ended = status not in (None, "RUNNING")
        for path in self._files(ended):
            self._window.attach(path)
        if ended and (self.folder / "search" / "summary.json").exists():
            self._window.record_search(self.folder / "search" / "summary.json")

    def _files(self, ended: bool) -> list[Path]:
        """The sweep's own files that are there. The study is a database, whole only once the sweep has ended."""
        names = ["spec.yaml", "results.csv", "report.html", "search/search.html", "search/summary.json"]
        named = [self.folder / name for name in [*names, *(["search/study.db"] if ended else [])]]
        ratios = [path for path in sorted(self.folder.glob("ratios/**/*")) if not path.name.startswith(".")]
        return [path for path in [*named, *ratios] if path.is_file()]

    def _settle(self, window: Window, trial: str, known: dict[str, list] | None, report: Report) -> None:
        path = self.folder / "trials" / trial / "result.json"
        try:
            stamp = _stamp(path)
            if self._done.get(trial) == stamp:
                report.skipped.append(trial)
                return
            result = read_sealed(path)
        except FileNotFoundError:
            return  # not there yet, or set aside to be computed again
        # later passes look again, for a `jackpot sync` may have been here in between
        active = (known if known is not None else window.runs(trial)).get(trial, [])
        written = window.record(result, digest(result), active)
        (report.logged if written else report.skipped).append(trial)
        self._done[trial] = stamp

    def _trials(self) -> list[str]:
        return sorted(path.parent.name for path in self.folder.glob("trials/*/result.json"))


def _stamp(path: Path) -> tuple[int, ...]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_ino, stat.st_size


def _fault_of_one(error: Exception) -> bool:
    return isinstance(error, Corrupt | FilesLag) or getattr(error, "error_code", None) in _FAULT_OF_ONE
