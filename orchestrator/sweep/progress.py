"""What a running sweep shows: a line per running trial, totals, and the time left."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from orchestrator.engine.folder import SweepFolder, parse_events
from orchestrator.engine.plan import Plan, Planned
from orchestrator.engine.results import BAD
from orchestrator.engine.trials import model_label
from orchestrator.sweep.schedule import Schedule

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
PLAIN_SECONDS = 30.0
"""How often a plain line with the totals is printed where there is no terminal."""


class Tail:
    """The events that a file has gained since the last look."""

    def __init__(self, path: Path, from_end: bool) -> None:
        self._path = path
        self._offset = path.stat().st_size if from_end and path.exists() else 0

    def new(self) -> list[dict[str, Any]]:
        """Events appended since the last call."""
        try:
            with open(self._path, "rb") as file:
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._offset += len(whole)
        return parse_events(whole)


class Progress:
    """Follows the events of the running trials and shows them: live on a terminal, else in plain lines."""

    def __init__(
        self,
        folder: SweepFolder,
        plan: Plan,
        schedule: Schedule,
        run: str,
        console: Console,
        undecided: Callable[[], int] = lambda: 0,
    ) -> None:
        """`undecided`: how many trials a search has still to decide on."""
        self._undecided = undecided
        self._folder, self._plan, self._schedule, self._console = folder, plan, schedule, console
        self._left = {key: (p, float(epochs)) for key, (p, epochs) in plan.missing(folder.store.knows).items()}
        self._to_train = sum(epochs for _, epochs in self._left.values())
        self._tails = {p.id: Tail(folder.trial(p.id) / "events.jsonl", from_end=True) for p in plan.planned}
        self._state: dict[str, dict[str, Any]] = defaultdict(dict)
        self._pace: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self._ended: dict[str, str] = {}
        self._heard: dict[str, float] = {}
        self._looked = time.monotonic()
        self._finished_before = len(plan.planned) - len(schedule.waiting)
        self._began = time.monotonic()
        self._told = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="progress", daemon=True)
        self._live: Live | None = None

    def __enter__(self) -> Progress:
        if self._console.is_terminal:
            self._live = Live(self._picture(), console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def add(self, planned: Planned) -> None:
        """Follow one more trial."""
        for key, epochs in self._plan.missing_of(planned, self._folder.store.knows).items():
            if key not in self._left:
                self._left[key] = (planned, float(epochs))
                self._to_train += float(epochs)
        self._tails = {**self._tails, planned.id: Tail(self._folder.trial(planned.id) / "events.jsonl", from_end=True)}

    def close(self) -> None:
        """Stop showing."""
        self._stop.set()
        if self._thread.is_alive():  # not where Ctrl-C came before it was started
            self._thread.join(timeout=2)
        if self._live:
            self._live.stop()
            self._live = None

    def say(self, line: str) -> None:
        """Print a line above what is shown, if it can be: the sweep is not ended by what it says."""
        self._print(line, markup=False, soft_wrap=True)  # paths stay whole

    def _print(self, line: str, **how: bool) -> None:
        with contextlib.suppress(OSError, SystemExit):  # a full disk; rich ends the process for a broken pipe
            self._console.print(line, highlight=False, **how)  # type: ignore[arg-type]

    def _follow(self) -> None:
        going = True
        while going:
            going = not self._stop.wait(LOOK_SECONDS)
            try:
                self._look()
            except (OSError, SystemExit):  # a folder that cannot be read now; a terminal that is gone
                pass
            except Exception:  # whoever stalls must still be found
                log.exception("what runs cannot be shown")

    def _look(self) -> None:
        now = time.monotonic()
        # those that wait have nothing to tell, and they may be thousands
        for trial in [trial for trial in list(self._schedule.begun) if trial not in self._ended]:
            for event in self._tails[trial].new():
                self._take(trial, event)
                self._heard[trial] = now
        self._looked = now
        if self._live:
            self._live.update(self._picture(), refresh=True)
        elif time.monotonic() - self._told > PLAIN_SECONDS:
            self._told = time.monotonic()
            self._print(self._totals())

    def _take(self, trial: str, event: dict[str, Any]) -> None:
        state = self._state[trial]
        if "begin" in event:
            state.clear()
            state["since"] = event["time"]
        elif "end" in event:
            if event["end"] != "stopped":
                self._ended[trial] = event["end"]
            if not self._live:
                seconds = event["time"] - state.get("since", event["time"])
                self._print(f"{self._count()} {trial}: {event['end']} ({seconds:.1f} s)")
        elif "steps" in event:
            self._measure(trial, state, event)
        state |= {"event": event, "at": event["time"]}

    def _measure(self, trial: str, state: dict[str, Any], event: dict[str, Any]) -> None:
        """Learn the seconds an epoch takes, and how much of the stage is left."""
        epochs = event["steps"] / event["per_epoch"]
        pace = self._pace[model_label(self._plan.by_id[trial].trial.model)]
        if "at" in state and epochs:
            pace[0] += event["time"] - state["at"]
            pace[1] += epochs
        if event["stage"] in self._left:
            planned, _ = self._left[event["stage"]]
            self._left[event["stage"]] = (planned, (event["until"] - event["step"]) / event["per_epoch"])

    def started(self, trial: str) -> None:
        """A trial has got a worker, from which it is to be heard; also one that has ended, and is run again."""
        self._ended.pop(trial, None)
        self._state[trial].pop("event", None)
        self._heard[trial] = time.monotonic()

    def stalled(self, running: Iterable[str], seconds: float) -> list[str]:
        """Those of the trials with a worker that have told of nothing for so long, by this process's own clock: those
        of hosts may be wrong. Not those that wait for what another one is making, unless all of them do."""
        heard = {trial: self._heard[trial] for trial in running if trial in self._heard}
        silent = [trial for trial, at in heard.items() if self._looked - at > seconds]
        waiting = {trial for trial in heard if self._waits(trial)}
        alone = [trial for trial in silent if trial not in waiting]
        return alone or (silent if len(waiting) == len(heard) else [])

    def _waits(self, trial: str) -> bool:
        event = self._state[trial].get("event", {})
        if not event.get("waiting"):
            return False
        try:
            return not self._folder.store.knows(event["stage"])
        except OSError:  # a store that is away for now
            return True

    def seconds_left(self) -> float | None:
        """Time left, from the pace of the epochs measured so far; None before the first."""
        seconds, epochs = (sum(pace[i] for pace in self._pace.values()) for i in (0, 1))
        if not epochs:
            return None
        left = 0.0
        for planned, amount in list(self._left.values()):
            spent, done = self._pace.get(model_label(planned.trial.model), (0.0, 0.0))
            left += amount * (spent / done if done else seconds / epochs)
        return left / max(1, len(self._schedule.running))

    def _count(self) -> str:
        return f"[{self._finished_before + len(self._ended)}/{len(self._plan.planned) + self._undecided()}]"

    def _totals(self) -> str:
        left = sum(epochs for _, epochs in list(self._left.values()))
        parts = [f"{self._count()} trials", f"epochs {self._to_train - left:.0f}/{self._to_train:.0f}"]
        bad = sum(status in BAD for status in self._ended.values())
        parts += [f"{bad} failed"] if bad else []
        parts.append(f"{_clock(time.monotonic() - self._began)} gone")
        seconds = self.seconds_left()
        if seconds is not None:
            parts.append(f"about {_clock(seconds)} left")
        elif not any("since" in state for state in list(self._state.values())):
            parts.append("starting Ray")
        return ", ".join(parts)

    def _picture(self) -> Group:
        table = Table.grid(padding=(0, 2))
        for trial in list(self._schedule.running):
            state = self._state[trial]
            table.add_row(trial, _doing(state.get("event", {})), _clock(time.time() - state.get("since", time.time())))
        return Group(table, Text(self._totals(), style="bold"))


def _doing(event: dict[str, Any]) -> str:
    if event.get("waiting"):
        return f"waits for {event['waiting']}"
    if "step" in event:
        accuracy = f", validation {event['accuracy/val']:.3f}" if "accuracy/val" in event else ""
        done, whole = (event[key] / event["per_epoch"] for key in ("step", "until"))
        return f"training, epoch {done:.0f}/{whole:.0f}{accuracy}"
    return {
        "train": "training",
        "compute": "finding the ticket",
        "evaluate": "testing",
        "measure": "measuring latency",
    }.get(event.get("kind", ""), "starting")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
