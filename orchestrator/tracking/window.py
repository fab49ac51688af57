"""One sweep in MLflow: a run of the sweep, below it one of each method at a sparsity, below these the trials."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from orchestrator.engine.files import digest, file_digest, read_sealed
from orchestrator.engine.finding import folder_at
from orchestrator.tracking import client as clients
from orchestrator.tracking.aggregate import Cell, aggregate_params, aggregate_points, cell_of
from orchestrator.tracking.artifacts import store_file, store_files, trial_files
from orchestrator.tracking.datasets import dataset_inputs
from orchestrator.tracking.record import (
    STATUSES,
    Point,
    Result,
    course_points,
    key_of,
    milliseconds,
    params_of,
    points_of,
    run_name,
    search_points,
    tags_of,
    text_of,
)
from orchestrator.tracking.runs import PARENT, RESULT, WRITING, Runs
from orchestrator.tracking.where import TrackingError, artifact_root, own_database, reason

NOTE = "mlflow.note.content"
"""The tag that MLflow shows as a run's description."""
_SEARCH = "mlflow.jackpot.search"
"""On the sweep's run: the summary whose numbers it holds. MLflow's pages hide the tags that begin like its own."""
_FILE = "mlflow.jackpot.file"
"""On the sweep's run: how the tags begin that say which content of a file it has."""
_KIND = {"mlflow.experimentKind": "custom_model_development"}  # else MLflow shows the pages for language models


class FilesLag(TrackingError):
    """A run has its numbers; its files could not be stored."""


class Window:
    """An open way to the runs of one sweep. Opening it finds or makes the experiment and the sweep's run.

    Every method may raise whatever MLflow and the network raise. Raises TrackingError if the experiment was
    deleted, or if the sweep's folder was moved away from under its database."""

    def __init__(
        self, folder: Path, name: str, identity: str, uri: str, experiment: str, several_networks: bool = False
    ) -> None:
        self.folder, self.uri, self.several_networks = Path(folder), uri, several_networks
        self.client = clients.connect(uri)
        self.experiment = self._find_experiment(experiment)
        self.runs = Runs(self.client, self.experiment, identity, name)
        self.parent = self._only(self.runs.search("sweep")) or self.runs.create("sweep", name, {})
        self._cells = self._find_cells()
        self.unstored: str | None = None
        """Why files cannot be stored, once that was seen in a pass."""

    def _find_experiment(self, name: str) -> str:
        root = artifact_root(self.folder, self.uri)
        found = self.client.get_experiment_by_name(name)
        if found is None:
            return self.client.create_experiment(name, artifact_location=root.as_uri() if root else None, tags=_KIND)
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

    def _only(self, runs: Sequence[Any]) -> Any:
        """The oldest of runs that should be one; the others are deleted. None of none: a server whose answer was lost
        may have made a run twice."""
        first, *doubles = sorted(runs, key=lambda run: run.info.start_time) or [None]
        for double in doubles:
            self.runs.delete(double)
        return first

    def trials(self, trial: str | None = None) -> dict[str, list[Any]]:
        """The active runs of one trial, or of all, by trial."""
        found: dict[str, list[Any]] = {}
        if trial is None or re.search(r"['\\]", trial):  # MLflow's filters can hold no quote
            runs = self.runs.search("trial")
        else:
            runs = self.runs.search("trial", trial=trial)
        for run in runs:
            found.setdefault(run.data.tags["jackpot.trial"], []).append(run)
        return found

    # Aggregates

    def _find_cells(self) -> dict[str, Any]:
        found: dict[str, list[Any]] = {}
        for run in self.runs.search("aggregate"):
            found.setdefault(run.data.tags["jackpot.cell"], []).append(run)
        for run in [run for own in found.values() for run in own]:
            if run.data.tags.get(PARENT) != self.parent.info.run_id:
                self.runs.tag(run, PARENT, self.parent.info.run_id)
        return {cell: self._only(own) for cell, own in found.items()}

    def home(self, row: Mapping[str, Any], started: float | None = None) -> str:
        """The id of the run that a trial stands below: its cell's, which is made if need be, or the sweep's where it
        has no cell. `row`: the trial's result or its row of the plan."""
        cell = cell_of(row)
        if cell is None:
            return self.parent.info.run_id
        key = digest(list(cell))[:16]
        if key not in self._cells:
            tags = {"jackpot.cell": key, PARENT: self.parent.info.run_id}
            name = run_name(row, self.several_networks, seed=False)
            self._cells[key] = self.runs.create("aggregate", name, tags, milliseconds(started) if started else None)
        return self._cells[key].info.run_id

    def record_cell(self, cell: Cell, results: Sequence[Result], seals: Sequence[str]) -> None:
        """Write the means over the given trials, all that the cell has, unless they stand there. Where that cannot be
        done by adding to the cell's run, for MLflow can neither change a param nor take a metric back, there is a new
        one."""
        key, seal = digest(list(cell))[:16], digest(sorted(seals))
        points, params = aggregate_points(results), aggregate_params(results)
        run = self._cells.get(key)
        if run is not None and run.data.tags.get(RESULT) == seal:
            return self.runs.rename(run, run_name(results[0], self.several_networks, seed=False))
        replaced = run is not None and _beyond_change(run, points, params)
        if replaced:
            self.runs.delete(self._cells.pop(key))
        self.home(results[0], min(result["started"] for result in results))
        run = self._cells[key]
        self.runs.rename(run, run_name(results[0], self.several_networks, seed=False))
        tags = {name: text_of(value) for name, value in cell._asdict().items()}
        if RESULT not in run.data.tags:
            self.client.log_inputs(run.info.run_id, dataset_inputs(results[0]))
        self.runs.log(run, points, params, tags | {RESULT: seal})
        self.runs.end(run, "FINISHED", milliseconds(max(result["ended"] for result in results)))
        run.data.tags[RESULT] = seal
        run.data.params.update(params)
        run.data.metrics.update({point.key: point.value for point in points})
        trials = self.trials() if replaced else {}  # at once: to look for each takes MLflow a pass over all
        for trial in [trial for result in results for trial in trials.get(result["trial"], [])]:
            self.runs.tag(trial, PARENT, run.info.run_id)

    # Trials

    def record(self, result: Result, seal: str, runs: Sequence[Any], events: Sequence[Mapping[str, Any]] = ()) -> bool:
        """Make one complete run of a trial's result, given the trial's active runs; False if there was one.

        Runs of another result are deleted, for MLflow can neither change a param nor take a metric back."""
        kept = None
        for run in sorted(runs, key=lambda run: RESULT not in run.data.tags):
            # one that only showed how the trial ran may become the run of any result
            if kept is None and run.data.tags.get(WRITING, seal) == seal:
                kept = run
            else:
                self.runs.delete(run)
        home, status = self.home(result, result["started"]), STATUSES[result["status"]]
        if kept and kept.data.tags.get(PARENT) != home:
            self.runs.tag(kept, PARENT, home)
        if kept:
            self.runs.rename(kept, run_name(result, self.several_networks))
        if kept and kept.data.tags.get(RESULT) == seal:
            if kept.info.status != status:
                self.runs.end(kept, status, milliseconds(result["ended"]))
            return False
        if kept and WRITING not in kept.data.tags:
            self.runs.tag(kept, WRITING, seal)
        run = kept or self._create_trial(result, home, {WRITING: seal}, result["started"])
        self._write(run, result, seal, course_points(events))
        return True

    def _create_trial(self, row: Mapping[str, Any], home: str, tags: Mapping[str, str], started: float) -> Any:
        name = run_name(row, self.several_networks) if "label" in row else row["trial"]
        own = {"jackpot.trial": row["trial"], PARENT: home, **tags}
        return self.runs.create("trial", name, own, milliseconds(started))

    def _write(self, run: Any, result: Result, seal: str, course: Sequence[Point]) -> None:
        trial = self.folder / "trials" / result["trial"]
        if result["status"] == "done" and not (trial / "ticket.safetensors").exists():
            folder_at(self.folder).pull(result["trial"])  # of a sweep in an object store: tickets are large
        points, params, tags = [*course, *points_of(result)], params_of(result), tags_of(result)
        lag = None
        try:
            self._store(lambda: store_files(self.client, run, trial_files(self.folder, result)))
        except FilesLag as error:
            lag = error
        else:
            tags[RESULT] = seal  # last: a run without it is written again
        self.runs.log(run, points, params, tags)
        self.runs.end(run, STATUSES[result["status"]], milliseconds(result["ended"]))
        if lag:
            raise lag

    def follow(
        self, row: Mapping[str, Any], run: Any, events: Sequence[Mapping[str, Any]], shown: int
    ) -> tuple[Any, int]:
        """Show how far a running trial is, given its run if it has one, and how many points of its course stand there;
        the run, and how many stand there now."""
        points = course_points(events)
        if run is None:
            run = self._create_trial(row, self.home(row, events[0]["time"]), {}, events[0]["time"])
        elif run.info.status != "RUNNING":
            self.client.update_run(run.info.run_id, status="RUNNING")
            run.info._status = "RUNNING"
        if len(points) > shown:
            self.runs.log(run, points[shown:])
        return run, len(points)

    def end_unfinished(self) -> None:
        """Nothing runs any more: end the runs that only showed how far a trial was."""
        for run in self.runs.search("trial", running=True):
            self.runs.end(run, "KILLED")

    # The sweep

    def _store(self, write: Callable[[], None]) -> None:
        """Write files to the artifact store, which may be another machine than the one that keeps the runs: where
        it fails, FilesLag is raised, at once for all later files of this pass."""
        if self.unstored is None:
            try:
                return write()
            except Exception as error:
                self.unstored = f"the files of runs cannot be stored: {reason(error)}"
        raise FilesLag(self.unstored)

    def attach(self, path: Path) -> None:
        """Add a file of the sweep to the parent run, in the folder it has in the sweep's, unless the parent has this
        very content."""
        place = path.relative_to(self.folder)
        tag, content = f"{_FILE}.{place.as_posix()}", file_digest(path)
        if key_of(tag) != tag:  # two names must not become one
            tag = f"{_FILE}.{digest(place.as_posix())[:16]}"
        if self.parent.data.tags.get(tag) != content:
            self._store(lambda: store_file(self.client, self.parent, path, place))
            self.runs.tag(self.parent, tag, content)

    def describe(self, tags: Mapping[str, str]) -> None:
        """Give the sweep's run these tags, those that it has not."""
        new = {key_of(name): value for name, value in tags.items() if self.parent.data.tags.get(key_of(name)) != value}
        if new:
            self.runs.log(self.parent, tags=new)
            self.parent.data.tags.update(new)

    def record_data(self, results: Sequence[Result]) -> None:
        """Say on the sweep's run which data sets its trials were trained on, once."""
        if not self.parent.inputs or not self.parent.inputs.dataset_inputs:
            found = {result["data"]: result for result in results}
            inputs = [given for result in found.values() for given in dataset_inputs(result)]
            self.client.log_inputs(self.parent.info.run_id, inputs)
            self.parent = self.client.get_run(self.parent.info.run_id)

    def record_search(self, path: Path) -> None:
        """Log what a search's summary says to the parent run, unless the parent has this very summary."""
        summary = read_sealed(path)
        if self.parent.data.tags.get(_SEARCH) == digest(summary):
            return
        # the file's own time: a pass that was cut off before the tag writes the very same points again
        self.runs.log(self.parent, search_points(summary, milliseconds(path.stat().st_mtime)))
        self.runs.tag(self.parent, _SEARCH, digest(summary))

    def set_status(self, status: str) -> None:
        """Set the parent's status: RUNNING, FINISHED, FAILED or KILLED."""
        if status == "RUNNING":
            self.client.update_run(self.parent.info.run_id, status=status)
        else:
            self.runs.end(self.parent, status)


def _beyond_change(run: Any, points: Sequence[Point], params: Mapping[str, str]) -> bool:
    """Whether what a cell's run holds cannot be made what it should hold by adding to it."""
    names = {point.key: point.value for point in points}
    had = run.data.metrics
    return (
        any(run.data.params.get(key_of(name), value) != value for name, value in params.items())
        or bool(run.data.params.keys() - params.keys())
        or bool(had.keys() - names.keys())
        or had.get("seeds", 0) > names.get("seeds", 0)
    )
