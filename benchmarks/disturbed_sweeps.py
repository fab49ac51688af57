"""One sweep tracked on an MLflow server that something happens to: what it took, what was said, what MLflow holds."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faulty_mlflow import Proxy, Server
from rich.console import Console

from orchestrator.api import run
from orchestrator.engine.files import digest, read_sealed
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.results import run_status
from orchestrator.spec.models import Tracking
from orchestrator.tracking import Tracker
from orchestrator.tracking.client import connect
from orchestrator.tracking.runs import RESULT

SPEC: dict[str, Any] = {
    "name": "disturbed",
    "data": "digits",
    "model": "convnet",
    "methods": ["random"],
    "sparsities": [0.9],
    "latency": {"enabled": False},
    "concurrency": 2,
}


@dataclass
class Found:
    """What came of a sweep."""

    exit_code: int
    statuses: list[str]
    wall: float
    """Seconds from the first trial's end, when whatever happens begins, to the last one's."""
    close: float
    """Seconds from there until the sweep's own end."""
    said: str
    message: str | None
    """What the sweep said at its end of runs that lag behind."""
    late: str | None
    """What a sync said after the server was well again."""
    differences: list[str]
    """How MLflow then differs from the results on disk."""


def disturbed(fault: str, folder: Path, trials: int, epochs: int, served: tuple[Server, Proxy]) -> Found:
    """Run a sweep of so many trials in a folder, in an MLflow experiment of the folder's name, under one of FAULTS. It
    begins when the first trial has its result. "killed" ends when half have theirs, or later, for a server needs a
    while to start; the others last until the sweep has ended."""
    sweep, (server, proxy) = SweepFolder(folder), served
    tracking = {"uri": proxy.uri, "experiment": folder.name}
    spec = SPEC | {"recipe": {"epochs": epochs}, "seeds": [*range(trials)], "tracking": tracking}
    thread = threading.Thread(target=_disturb, args=(fault, server, proxy, sweep, trials), daemon=True)
    thread.start()
    said = io.StringIO()
    outcome = run(spec, out=sweep.path, console=Console(file=said, width=300))
    ended = time.time()
    thread.join()
    _mend(fault, server, proxy)
    late = Tracker(sweep.path, "disturbed", Tracking(**tracking)).sync(run_status(sweep)).message
    first, last = _times(sweep)
    return Found(
        outcome.exit_code, sorted(outcome.statuses.values()), last - first, ended - last, said.getvalue(),
        outcome.tracking, late, differences(sweep.path, proxy.uri, folder.name),
    )  # fmt: skip


def _disturb(fault: str, server: Server, proxy: Proxy, sweep: SweepFolder, trials: int) -> None:
    _wait_for(lambda: _results(sweep) >= 1)
    if fault == "killed":
        server.kill()
        _wait_for(lambda: _results(sweep) >= trials // 2)
        server.start()
    elif fault == "full":
        server.tell("fill")
    else:
        proxy.fault = fault


def _mend(fault: str, server: Server, proxy: Proxy) -> None:
    proxy.fault = "nothing"
    if fault == "full":
        server.tell("empty")


def _wait_for(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 300
    while not true() and time.monotonic() < deadline:
        time.sleep(0.05)


def _results(sweep: SweepFolder) -> int:
    return len([*sweep.path.glob("trials/*/result.json")])


def _times(sweep: SweepFolder) -> tuple[float, float]:
    """When the first trial ended, and the last one."""
    events = [event for path in sweep.path.glob("trials/*") for event in sweep.events(path.name)]
    ends = [event["time"] for event in events if "end" in event]
    return min(ends), max(ends)


def differences(folder: Path, uri: str, experiment: str) -> list[str]:
    """How the runs in an MLflow experiment, of one sweep alone, differ from the sweep's results: empty where each
    result stands there once and whole, below its cell's means, and these once below one run of the sweep."""
    client = connect(uri)
    experiments = [client.get_experiment_by_name(experiment).experiment_id]
    kinds: dict[str, list[Any]] = {"sweep": [], "aggregate": [], "trial": []}
    for found in client.search_runs(experiments, max_results=1000):
        kinds[found.data.tags["jackpot.kind"]].append(found)
    results = {path.parent.name: read_sealed(path) for path in folder.glob("trials/*/result.json")}
    wrong = [f"{len(kinds['sweep'])} runs of the sweep"] if len(kinds["sweep"]) != 1 else []
    names = sorted(found.data.tags["jackpot.trial"] for found in kinds["trial"])
    if names != sorted(results):
        return [*wrong, f"trials there: {names}, here: {sorted(results)}"]
    for found in kinds["trial"]:
        wrong += _of_trial(client, found, results[found.data.tags["jackpot.trial"]])
    cells = {(result["label"], result["sparsity"]) for result in results.values()}
    if len(kinds["aggregate"]) != len(cells):
        wrong.append(f"{len(kinds['aggregate'])} runs of {len(cells)} cells")
    if sum(found.data.metrics.get("seeds", 0) for found in kinds["aggregate"]) != len(results):
        wrong.append("the means are not over all results")
    there = {file.path for found in kinds["sweep"] for file in client.list_artifacts(found.info.run_id)}
    if not there >= {"spec.yaml", "results.csv", "report.html"}:
        wrong.append(f"files of the sweep there: {sorted(there)}")
    return wrong


def _of_trial(client: Any, found: Any, result: dict[str, Any]) -> list[str]:
    trial, wrong = result["trial"], []
    if found.data.tags.get(RESULT) != digest(result) or found.info.status != "FINISHED":
        wrong.append(f"{trial}: {found.info.status}, not of this result")
    wrong += [
        f"{trial}: {name} is {found.data.metrics.get(name)}, not {value}"
        for name, value in result["metrics"].items()
        if isinstance(value, (int, float)) and abs(found.data.metrics.get(name, 1e9) - value) > 1e-9 * abs(value)
    ]
    # by step: MLflow gives them by the clocks of hosts
    losses = sorted((p.step, p.value) for p in client.get_metric_history(found.info.run_id, "loss/train"))
    if losses != [(epoch["epoch"], epoch["loss/train"]) for epoch in result["history"]]:
        wrong.append(f"{trial}: losses {losses}")
    there = {file.path for file in client.list_artifacts(found.info.run_id)}
    if there != {"log.txt", "ticket.safetensors", "layers.json"}:
        wrong.append(f"{trial}: files {sorted(there)}")
    return wrong
