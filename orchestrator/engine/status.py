"""How far a sweep is, from its files alone: the driver may be anywhere, or gone."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import Any

from orchestrator.engine.files import read_sealed
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.results import BAD, planned_results, why
from orchestrator.engine.stragglers import stragglers


def status(folder: SweepFolder) -> dict[str, Any]:
    """Counts by state, running trials, epochs trained, the slots' busy share and the size of the store. Raises
    FolderError where no sweep lies in the folder."""
    rows = planned_results(folder)
    plan = read_sealed(folder.path / "plan.json")
    driver = folder.driver()
    events = {trial: folder.events(trial) for trial, _ in rows}
    running = [trial for trial, _ in rows if driver and _is_running(events[trial], plan["run"])]
    states = {
        trial: "running" if trial in running else result["status"] if result else "left" for trial, result in rows
    }
    counts = Counter(states.values())
    slots, busy = busy_share(list(events.values()))
    stages, size = folder.store_size()
    return {
        "sweep": folder.name,
        "folder": folder.address,
        "driver": driver,
        "trials": len(rows),
        "counts": {
            state: counts.get(state, 0)
            for state in ("done", "diverged", "running", "dropped", "failed", "blocked", "left")
        },
        "running": running,
        "bad": {trial: state for trial, state in states.items() if state in BAD},
        "states": {trial: {"state": states[trial], **_details(result)} for trial, result in rows},
        "epochs_trained": epochs_trained(list(events.values())),
        "epochs_distinct": plan["epochs_distinct"],
        "stragglers": stragglers(events.values()),
        "slots": slots,
        "busy": busy,
        "stages": stages,
        "store_bytes": size,
    }


def _details(result: dict[str, Any] | None) -> dict[str, Any]:
    """What a list of trials says of one beside its state."""
    if result is None:
        return {}
    known = {name: result["metrics"][name] for name in ("accuracy/val", "accuracy/test") if name in result["metrics"]}
    return {**known, "why": why(result)}


def _is_running(events: list[dict[str, Any]], run: str) -> bool:
    last = next((event for event in reversed(events) if "begin" in event or "end" in event), None)
    return last is not None and "begin" in last and last["run"] == run


def epochs_trained(events: list[list[dict[str, Any]]]) -> float:
    """Epochs that all trials ever trained, those lost to a kill included: what a run really cost."""
    parts = (Fraction(event["steps"], event["per_epoch"]) for trial in events for event in trial if "steps" in event)
    return float(sum(parts, Fraction(0)))


def busy_share(events: list[list[dict[str, Any]]]) -> tuple[int, float | None]:
    """The slots of the last run, and the share of their time in which a trial was at work, between the first and
    the last start of a trial. Time spent waiting for a stage that another trial was making is not work. None
    before a second trial has started."""
    begun = [event for trial in events for event in trial if "begin" in event]
    if not begun:
        return 0, None
    last_begun = max(begun, key=lambda event: event["time"])
    run, slots = last_begun["run"], last_begun["slots"]
    work: list[tuple[float, float]] = []
    lives: list[tuple[float, float]] = []
    for trial in events:
        spans, life = _spans(trial, run)
        work += spans
        lives += life
    starts = [start for start, _ in lives]
    if len(starts) < 2 or max(starts) == min(starts):
        return slots, None
    first, last = min(starts), max(starts)
    busy = sum(max(0.0, min(end, last) - max(start, first)) for start, end in work)
    return slots, busy / (slots * (last - first))


def _spans(events: list[dict[str, Any]], run: str) -> tuple[list[tuple[float, float]], list[tuple[float, float]]]:
    """A trial's stretches of work, and its attempts from start to end, in one run."""
    work: list[tuple[float, float]] = []
    lives: list[tuple[float, float]] = []
    mine, waiting = False, False
    for event in events:
        if "begin" in event:
            mine, waiting = event["run"] == run, False
            if mine:
                lives.append((event["time"], event["time"]))
                work.append((event["time"], event["time"]))
        elif mine:
            lives[-1] = (lives[-1][0], event["time"])
            if waiting:
                work.append((event["time"], event["time"]))
            else:
                work[-1] = (work[-1][0], event["time"])
            waiting = bool(event.get("waiting"))
    return work, lives
