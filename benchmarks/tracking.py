"""What it costs to log a sweep to MLflow: 1,000 made-up trials of 50 epochs, to sqlite and to a server over HTTP.

    python benchmarks/tracking.py [--trials 1000] [--epochs 50] [--bare 100]

Beside it, on the same store in the same run: the bare cost of one trial (one create, one batch that holds the very same
metrics, params and tags, one end), and Ray Tune's MLflowLoggerCallback on 5 trials. Jackpot also stores every trial's
files, logs the means over seeds and the sweep's own run.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from report_page import made_up
from rich.console import Console
from rich.table import Table

from orchestrator.engine.files import read_sealed
from orchestrator.spec.models import Tracking
from orchestrator.tracking.client import connect
from orchestrator.tracking.record import milliseconds, params_of, points_of, tags_of
from orchestrator.tracking.tracker import Tracker
from orchestrator.tracking.ui import server

CALLBACK_TRIALS = 5


@dataclass(eq=False)
class _Trial:
    """What the callback looks at of a trial of Tune's."""

    config: dict[str, str]
    trial_id: str


def main() -> None:
    """Log the sweep in both ways and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("trials", 1000), ("epochs", 50), ("bare", 100)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    table = Table(
        "store", "seconds in all", "ms a trial", "bare ms a trial", "ratio", "MLflowLoggerCallback, ms a trial"
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = made_up(Path(temporary) / "sweep", options.trials, options.epochs).path
        results = [read_sealed(path) for path in sorted(folder.glob("trials/*/result.json"))]
        table.add_row("sqlite", *_row(folder, _database(Path(temporary) / "direct"), results, options.bare))
        place = Path(temporary) / "served"
        with server(_database(place), place / "artifacts", "127.0.0.1", None) as (base, _):
            table.add_row("HTTP, one worker", *_row(folder, base, results, options.bare))
    Console(width=120).print(table)


def _database(place: Path) -> str:
    """An empty database: its tables are made once, not once a sweep."""
    place.mkdir()
    uri = f"sqlite:///{place}/mlflow.db"
    connect(uri).search_experiments()
    return uri


def _row(folder: Path, uri: str, results: list[dict[str, Any]], bare: int) -> list[str]:
    before, after = results[: bare // 2], results[-(bare - bare // 2) :]
    alone = _timed(lambda: _bare(uri, before))
    (folder / "tracking.id").unlink(missing_ok=True)  # a sweep of its own for every store
    seconds = _timed(lambda: _jackpot(folder, uri))
    alone += _timed(lambda: _bare(uri, after))  # also when the store is full
    callback = _timed(lambda: _callback(uri, results[:CALLBACK_TRIALS]))
    each, single = 1000 * seconds / len(results), 1000 * alone / bare
    return [
        f"{seconds:.1f}", f"{each:.1f}", f"{single:.1f}", f"{each / single:.2f}",
        f"{1000 * callback / CALLBACK_TRIALS:.0f}",
    ]  # fmt: skip


def _timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _jackpot(folder: Path, uri: str) -> None:
    report = Tracker(folder, "made-up", Tracking(uri=uri)).sync(status="FINISHED")
    assert report.message is None, report.message


def _bare(uri: str, results: list[dict[str, Any]]) -> None:
    from mlflow.entities import Metric, Param, RunTag

    client = connect(uri)
    name = f"bare {time.time_ns()}"
    experiment = client.create_experiment(name)
    for result in results:
        run = client.create_run(experiment, start_time=milliseconds(result["started"]), run_name=result["trial"])
        client.log_batch(
            run.info.run_id,
            metrics=[Metric(*point) for point in points_of(result)],
            params=[Param(*item) for item in params_of(result).items()],
            tags=[RunTag(*item) for item in tags_of(result).items()],
        )
        client.set_terminated(run.info.run_id, "FINISHED", milliseconds(result["ended"]))


def _callback(uri: str, results: list[dict[str, Any]]) -> None:
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    callback = MLflowLoggerCallback(tracking_uri=uri, experiment_name=f"callback {time.time_ns()}")
    callback.setup()
    for result in results:
        trial: Any = _Trial(params_of(result), result["trial"])
        callback.log_trial_start(trial)
        for i, epoch in enumerate(result["history"], 1):
            metrics = {name: value for name, value in epoch.items() if name not in ("epoch", "time")}
            callback.log_trial_result(i, trial, {**metrics, "training_iteration": i})
        last = len(result["history"])
        callback.log_trial_result(last, trial, {**result["metrics"], "training_iteration": last})
        callback.log_trial_end(trial)


if __name__ == "__main__":
    main()
