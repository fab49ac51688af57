"""A Ray Tune worker: one process that runs trial after trial."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from ray import tune

from orchestrator.engine import files
from orchestrator.engine.concealing import concealed
from orchestrator.engine.finding import folder_at
from orchestrator.engine.folder import FolderError, SweepFolder
from orchestrator.engine.remote import PATIENCE, Remote, RemoteError
from orchestrator.engine.rungs import measure_rung, rung_cuts
from orchestrator.engine.setting import Setting
from orchestrator.engine.trial import failure, run_trial
from orchestrator.engine.trials import Trial, model_label
from orchestrator.engine.watch import SIGTERM, Stopped, Watch
from orchestrator.spec.models import Spec
from orchestrator.sweep.devices import elsewhere
from orchestrator.sweep.sharing import pushing
from orchestrator.sweep.system import system_metrics

log = logging.getLogger(__name__)

STOP_CHECK_SECONDS = 0.5
WAIT_SECONDS, LONGEST_WAIT = 0.05, 30.0
"""How often a slot that waits for a search looks, and how long it waits: a driver that was told to stop may not have
been able to write so."""


class Worker(tune.Trainable):
    """Runs the trial that its config names, in one step; reused for the next trial, so that a process starts
    and imports once. The process tells the driver how a trial ended; the result itself is on disk."""

    def setup(
        self, config: dict[str, Any], spec: Spec, folder: str, run: str, cwd: str, device: str | None = None
    ) -> None:
        """Get ready for the trials of one sweep, in the driver's current folder, where a user's networks may lie."""
        with contextlib.suppress(OSError):  # not on every machine
            os.chdir(cwd)
        self.spec, self.run_id, self.device = spec, run, device
        Remote.patience = PATIENCE  # of its data too
        self.sweep = folder_at(folder)
        self.settings: dict[str, Setting] = {}
        self.rungs: list[dict[str, Any]] = []
        """What the trial was worth at the rungs that it has passed."""
        torch.set_num_threads(spec.resources.cpu)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take the next trial."""
        self.config, self.rungs = new_config, []
        return True

    def step(self) -> dict[str, Any]:
        """Run the trial to its end, or to its next rung; or wait until the search has heard of another trial."""
        if "wait" in self.config:
            return self._wait(self.config["wait"])
        if "given_up" in self.config:  # by the driver, which has written its result
            return {"done": True, "status": "given up"}
        try:
            with _sigterm() as self.told_to_end:
                return self._until_written()
        except _ToldToEnd:
            os._exit(1)  # the host is about to be: its trial is to be started again elsewhere
        except OSError as error:
            # raised by the sweep's folder, not by the trial, whose own errors are its result
            return {"done": True, "status": "unwritable", "error": str(error)}
        except Exception as error:  # before the trial could begin: a worker whose methods are other ones
            return {"done": True, **failure(error), "status": "broken"}
        finally:
            if torch.cuda.is_available():
                torch.cuda.empty_cache()  # what an out-of-memory trial left must not sink the next

    def _wait(self, turn: int) -> dict[str, Any]:
        """Hold the slot until more than `turn` trials have ended: what comes next depends on them."""
        until = time.monotonic() + LONGEST_WAIT
        while not self.sweep.stop_requested() and time.monotonic() < until:
            if self.sweep.turn() > turn:
                break
            time.sleep(max(WAIT_SECONDS, self.sweep.look_seconds))
        return {"done": True, "status": "waited"}

    def _until_written(self) -> dict[str, Any]:
        """Run the trial, again from its checkpoints where the sweep's folder took nothing for a while. Raises OSError
        where that lasts. The pauses grow: a full disk may take a probe and not the next checkpoint."""
        trial, pause, until = self.config["trial"], 1.0, None
        while True:
            began = time.monotonic()
            try:
                self.sweep.pull(trial)  # what it did on another machine, or on this one before its copy was lost
                with pushing(self.sweep, trial), _log_to(self.sweep.growing(trial, "log.txt")):
                    return {"done": True, **self._run(self.config)}
            except RemoteError:  # the store was waited for
                raise
            except OSError:
                if time.monotonic() - began > files.STORAGE_SECONDS:  # it was well meanwhile
                    pause, until = 1.0, None
                until = until or time.monotonic() + files.STORAGE_SECONDS
                if not self._written_again(pause, until):
                    raise
                pause *= 2

    def _written_again(self, pause: float, until: float) -> bool:
        """Whether the folder can be written again before `until`; looks at every pause, and ends where the sweep is to
        stop."""
        while time.monotonic() + pause < until and not self.sweep.stop_requested():
            time.sleep(pause)
            with contextlib.suppress(FolderError):
                self.sweep.prepare()
                return True
        return False

    def _run(self, config: dict[str, Any]) -> dict[str, Any]:
        trial = Trial.from_json(config["what"])
        if not self.rungs:
            begin = {"begin": config["key"], "run": self.run_id, "slots": config["slots"]}
            where = {"model": model_label(trial.model), "host": socket.gethostname(), "pid": os.getpid()}
            self.sweep.tell(trial.id, begin | where)
        begun = [event for event in self.sweep.events(trial.id) if event.get("begin") == config["key"]]
        watch = Watch(
            trial=trial.id,
            run=self.run_id,
            cuts=config["cuts"],
            owners=config["owners"],
            stopping=_Stopping(self.sweep, self.told_to_end),
            tell=_Teller(self.sweep, trial.id, self.spec.tracking.system_metrics),
        )
        watch.elsewhere = elsewhere(self.device, self.sweep.address, self.spec, trial, watch)
        setting = self.settings.setdefault(trial.model.model_dump_json(), Setting(self.spec, trial.model))
        try:
            if (rung := self._rung(setting, trial, watch)) is not None:
                return rung
            result = run_trial(self.sweep, setting, trial, config["key"], watch, attempt=len(begun), rungs=self.rungs)
        except Stopped:
            if self.told_to_end():
                with contextlib.suppress(OSError):  # else it counts as a death of the worker's own
                    self.sweep.tell(trial.id, {"end": "stopped", "why": SIGTERM})
                    self.sweep.push(trial.id)
                raise _ToldToEnd from None
            self.sweep.tell(trial.id, {"end": "stopped"})
            return {"status": "stopped"}
        self.sweep.tell(trial.id, {"end": result["status"]})
        return {"status": result["status"], "failed_stage": result.get("failed_stage")}

    def _rung(self, setting: Setting, trial: Trial, watch: Watch) -> dict[str, Any] | None:
        """Bring a search's trial to its next rung and tell Tune's scheduler of it; None where it has none left, or
        where what went wrong on the way there is the trial's result."""
        fidelity = self.spec.search.fidelity if self.spec.search and trial.search is not None else None
        if fidelity is None:
            return None
        try:
            watch.cuts = rung_cuts(watch, setting, trial, fidelity.rungs)
            if len(self.rungs) == len(fidelity.rungs):
                return None
            rung = measure_rung(self.sweep, setting, trial, watch, fidelity.rungs[len(self.rungs)])
        except Stopped:
            raise
        except Exception:
            log.exception("no rung is reached")
            return None
        self.sweep.tell(trial.id, {"rung": rung})
        self.rungs.append(rung)
        # ASHA counts by powers of its reduction
        budget = fidelity.reduction ** (len(self.rungs) - 1)
        return {"done": False, "status": "rung", "budget": budget, "rung_accuracy": rung["accuracy"]}

    def save_checkpoint(self, checkpoint_dir: str) -> dict | None:
        """Nothing: the stage store keeps what a trial has done."""

    def load_checkpoint(self, checkpoint: dict | None) -> None:
        """Nothing to load."""


class _ToldToEnd(BaseException):
    """The process was sent SIGTERM, and what the trial has trained is kept."""


class _Stopping:
    """Whether the sweep was asked to stop, or this process; looks at the disk now and then, not at every training
    step."""

    def __init__(self, sweep: SweepFolder, told_to_end: Callable[[], bool]) -> None:
        self._sweep, self._looked, self._stop = sweep, 0.0, False
        self._told_to_end = told_to_end

    def __call__(self) -> bool:
        if self._told_to_end():
            return True
        if not self._stop and time.monotonic() - self._looked > max(STOP_CHECK_SECONDS, self._sweep.look_seconds):
            self._stop, self._looked = self._sweep.stop_requested() is not None, time.monotonic()
        return self._stop


class _Teller:
    """Writes the events of a trial; a wait is told once, not at every look. `system`: with every epoch, how busy the
    machine is."""

    def __init__(self, sweep: SweepFolder, trial: str, system: bool) -> None:
        self._sweep, self._trial, self._system = sweep, trial, system
        self._last: dict[str, Any] = {}

    def __call__(self, event: dict[str, Any]) -> None:
        if event != self._last:
            of_machine = system_metrics() if self._system and "epoch" in event else {}
            self._sweep.tell(self._trial, {**event, **of_machine})
            if "checkpoint" in event or ("step" in event and event["step"] == event["until"]):
                self._sweep.push(self._trial)  # what was trained is known before a stage of it can be used elsewhere
        self._last = event


class _Log(io.TextIOWrapper):
    """A text file that no secret of the environment is written to."""

    def write(self, text: str) -> int:
        super().write(concealed(text))
        return len(text)


@contextlib.contextmanager
def _sigterm() -> Iterator[Callable[[], bool]]:
    """Hear SIGTERM, which a host sends its processes before it is gone, as a request to stop; gives whether it came.
    Ray's own handler raises SystemExit, which would pass for the trial's."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.signal(signal.SIGTERM, lambda number, _: came.append(number))
    try:
        yield lambda: bool(came)
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


@contextlib.contextmanager
def _log_to(path: Path) -> Iterator[None]:
    """Append log records and whatever a method prints to the trial's log."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _Log(open(path, "ab"), encoding="utf-8", line_buffering=True) as file:
        handler = logging.StreamHandler(file)
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        root = logging.getLogger()
        root.addHandler(handler)
        logging.getLogger("orchestrator").setLevel(logging.INFO)
        try:
            with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
                yield
        finally:
            root.removeHandler(handler)
