"""One sweep's runs in MLflow: a parent, and a child for each trial."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import url2pathname

from orchestrator.engine.files import digest, file_digest, read_sealed
from orchestrator.tracking import client as clients
from orchestrator.tracking.record import (
    STATUSES,
    Result,
    key_of,
    milliseconds,
    params_of,
    points_of,
    search_points,
    tags_of,
)
from orchestrator.tracking.where import TrackingError, artifact_root, own_database, reason

_METRICS, _TAGS = 1000, 100  # MLflow's limits of one request; params and tags count apart
_PARENT = "mlflow.parentRunId"

# On a trial's run: whose result it is being written from, and, set last, whose it holds in full.
_WRITING, _RESULT = "jackpot.writing", "jackpot.result"

_SEARCH = "jackpot.search"
"""On the parent: the summary whose numbers it holds."""

T = TypeVar("T")


class FilesLag(TrackingError):
    """A run has its numbers; its files could not be stored."""


class Window:
    """An open way to the runs of one sweep. Opening it finds or makes the experiment and the parent run.

    Every method may raise whatever MLflow and the network raise. Raises TrackingError if the experiment was
    deleted, or if the sweep's folder was moved away from under its database."""

    def __init__(self, folder: Path, name: str, identity: str, uri: str, experiment: str) -> None:
        self.folder, self.name, self.identity, self.uri = Path(folder), name, identity, uri
        self.client = clients.connect(uri)
        self.experiment = self._find_experiment(experiment)
        self.parent = self._find_parent()
        self.unstored: str | None = None
        """Why files cannot be stored, once that was seen in a pass."""

    def _find_experiment(self, name: str) -> str:
        root = artifact_root(self.folder, self.uri)
        found = self.client.get_experiment_by_name(name)
        if found is None:
            return self.client.create_experiment(name, artifact_location=root.as_uri() if root else None)
        if found.lifecycle_stage != "active":
            raise TrackingError(
                f"the experiment {name!r} was deleted there; bring it back with `mlflow experiments restore "
                f"--experiment-id {found.experiment_id}`, or set tracking.experiment to another name"
            )
        if root and self.uri == own_database(self.folder) and found.artifact_location != root.as_uri():
            raise TrackingError(
                f"{self.folder} was moved since its mlflow.db was made, which keeps the old paths; remove "
                "mlflow.db and mlartifacts in it, and the next pass makes them anew from the results"
            )
        return found.experiment_id

    def _find_parent(self) -> Any:
        parents = sorted(self._search("sweep"), key=lambda run: run.info.start_time)
        for double in parents[1:]:
            self.client.delete_run(double.info.run_id)
        if parents:
            return parents[0]
        return self.client.create_run(self.experiment, tags=self._own_tags("sweep"), run_name=self.name)

    def _own_tags(self, kind: str) -> dict[str, str]:
        return {"jackpot.id": self.identity, "jackpot.sweep": self.name, "jackpot.kind": kind}

    def _search(self, kind: str, trial: str | None = None) -> list[Any]:
        tags = {"id": self.identity, "kind": kind} | ({"trial": trial} if trial else {})
        condition = " and ".join(f"tags.`jackpot.{name}` = '{value}'" for name, value in tags.items())
        runs: list[Any] = []
        token = None
        while True:
            page = self.client.search_runs([self.experiment], condition, max_results=500, page_token=token)
            runs += page
            token = page.token
            if not token:
                return runs

    def runs(self, trial: str | None = None) -> dict[str, list[Any]]:
        """The active runs of one trial, or of all, by trial."""
        found: dict[str, list[Any]] = {}
        for run in self._search("trial", trial):
            found.setdefault(run.data.tags["jackpot.trial"], []).append(run)
        return found

    def record(self, result: Result, seal: str, runs: Sequence[Any]) -> bool:
        """Make one complete run of a trial's result, given the trial's active runs; False if there was one.

        Runs of another result are deleted, for MLflow can neither change a param nor take a metric back."""
        kept = None
        for run in sorted(runs, key=lambda run: _RESULT not in run.data.tags):
            if kept is None and run.data.tags.get(_WRITING) == seal:
                kept = run
            else:
                self.client.delete_run(run.info.run_id)
        if kept and kept.data.tags.get(_PARENT) != self.parent.info.run_id:
            self.client.set_tag(kept.info.run_id, _PARENT, self.parent.info.run_id)
        if kept and kept.data.tags.get(_RESULT) == seal:
            return False
        self._write(kept or self._create(result, seal), result, seal)
        return True

    def _create(self, result: Result, seal: str) -> Any:
        tags = self._own_tags("trial") | {"jackpot.trial": result["trial"], _WRITING: seal}
        return self.client.create_run(
            self.experiment,
            start_time=milliseconds(result["started"]),
            tags=tags | {_PARENT: self.parent.info.run_id},
            run_name=result["trial"],
        )

    def _write(self, run: Any, result: Result, seal: str) -> None:
        from mlflow.entities import Metric, Param, RunTag

        run_id = run.info.run_id
        for tags in _chunks([RunTag(*item) for item in tags_of(result).items()], _TAGS):
            self.client.log_batch(run_id, tags=tags)
        for params in _chunks([Param(*item) for item in params_of(result).items()], _TAGS):
            self.client.log_batch(run_id, params=params)
        for metrics in _chunks([Metric(*point) for point in points_of(result)], _METRICS):
            self.client.log_batch(run_id, metrics=metrics)
        self.client.set_terminated(run_id, STATUSES[result["status"]], milliseconds(result["ended"]))
        self._store(lambda: self._write_files(run, result))
        self.client.set_tag(run_id, _RESULT, seal)  # last: a run without it is written again

    def _store(self, write: Callable[[], None]) -> None:
        """Write files to the artifact store, which may be another machine than the one that keeps the runs: where
        it fails, FilesLag is raised, at once for all later files of this pass."""
        if self.unstored is None:
            try:
                return write()
            except Exception as error:
                self.unstored = f"the files of runs cannot be stored: {reason(error)}"
        raise FilesLag(self.unstored)

    def _write_files(self, run: Any, result: Result) -> None:
        trial, run_id = self.folder / "trials" / result["trial"], run.info.run_id
        if result["layers"]:
            self.client.log_dict(run_id, {"layers": result["layers"]}, "layers.json")
        if result["error"]:
            self.client.log_text(run_id, result["error"]["traceback"], "error.txt")
        if (trial / "log.txt").exists():
            self.client.log_artifact(run_id, str(trial / "log.txt"))
        if result["status"] == "done" and (trial / "ticket.safetensors").exists():
            self._attach_ticket(run, trial / "ticket.safetensors")

    def _attach_ticket(self, run: Any, ticket: Path) -> None:
        location = run.info.artifact_uri
        if not location.startswith("file://"):
            return self.client.log_artifact(run.info.run_id, str(ticket))
        # a ticket is as large as its network and never changes in place: a second name costs no space
        target = Path(url2pathname(urlsplit(location).path)) / ticket.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.unlink(missing_ok=True)
        try:
            os.link(ticket, target)
        except OSError:  # another file system
            shutil.copyfile(ticket, target)

    def attach(self, path: Path) -> None:
        """Add a file of the sweep to the parent run, in the folder it has in the sweep's, unless the parent has this
        very content."""
        place = path.relative_to(self.folder)
        tag, content = key_of(f"jackpot.file.{place.as_posix()}"), file_digest(path)
        if self.parent.data.tags.get(tag) != content:
            within = None if place.parent == Path() else place.parent.as_posix()
            self._store(lambda: self.client.log_artifact(self.parent.info.run_id, str(path), within))
            self._tag(tag, content)

    def record_search(self, path: Path) -> None:
        """Log what a search's summary says to the parent run, unless the parent has this very summary."""
        from mlflow.entities import Metric

        summary = read_sealed(path)
        if self.parent.data.tags.get(_SEARCH) == digest(summary):
            return
        # the file's own time: a pass that was cut off before the tag writes the very same points again
        points = search_points(summary, milliseconds(path.stat().st_mtime))
        self.client.log_batch(self.parent.info.run_id, metrics=[Metric(*point) for point in points])
        self._tag(_SEARCH, digest(summary))

    def _tag(self, tag: str, content: str) -> None:
        self.client.set_tag(self.parent.info.run_id, tag, content)
        self.parent.data.tags[tag] = content

    def set_status(self, status: str) -> None:
        """Set the parent's status: RUNNING, FINISHED, FAILED or KILLED."""
        if status == "RUNNING":
            self.client.update_run(self.parent.info.run_id, status=status)
        else:
            self.client.set_terminated(self.parent.info.run_id, status)


def _chunks(items: list[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
