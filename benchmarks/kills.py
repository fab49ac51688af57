"""A sweep that is shaken: its driver and its workers killed with -9 at random moments, and what was trained twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from itertools import groupby
from pathlib import Path
from typing import Any

from orchestrator.engine.files import read_sealed
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.status import busy_share, epochs_trained

JACKPOT = Path(sys.executable).with_name("jackpot")
# two slots on any machine, so that the training lasts until the last kill
SPEC = """
name: shaken
data: digits
model: convnet
recipe: {epochs: EPOCHS}
methods: [dense, random, snip, {name: lottery, fraction: 0.3}]
sparsities: [0.9, 0.95]
seeds: [0, 1]
concurrency: 2
"""
# what every process of a sweep loads
PLUGIN = """
from methods.random import Random
from orchestrator.engine import files, training

{settings}


class Often(Random):
    name = "often"
"""
OFTEN = "training.CHECKPOINT_SECONDS = 1.0"
"""Trainings of a few seconds, so checkpoints every second."""
LONGEST = 900.0
"""Seconds that a sweep may take."""


def write_plugin(folder: Path, settings: str = OFTEN) -> None:
    """Install a plugin that sets constants of this process, for whoever has the folder on its path."""
    points = folder / "shaken_often-1.dist-info"
    points.mkdir(parents=True, exist_ok=True)
    (points / "entry_points.txt").write_text("[jackpot.methods]\noften = shaken_often:Often\n")
    (points / "METADATA").write_text("Metadata-Version: 2.1\nName: shaken-often\nVersion: 1\n")
    (folder / "shaken_often.py").write_text(PLUGIN.format(settings=settings))


class Sweep:
    """The sweep in a folder, run by the real command: 14 trials of so many epochs, or what another spec says."""

    def __init__(self, folder: Path, epochs: int = 24, spec: str = SPEC) -> None:
        self.path, self.folder = folder, SweepFolder(folder)
        write_plugin(folder.parent / "plugin")
        (folder.parent / "shaken.yaml").write_text(spec.replace("EPOCHS", str(epochs)))

    def start(self) -> subprocess.Popen:
        """The command, as a process of its own."""
        plugin = str(self.path.parent / "plugin")
        environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "PYTHONPATH": plugin}
        command = [JACKPOT, "run", self.path.parent / "shaken.yaml", "--out", self.path]
        with open(self.path.parent / "said.txt", "a") as said:
            return subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True, env=environment)

    def shake(self, kills: int, seed: int) -> list[str]:
        """Run the sweep to its end, killing the driver and a worker in turn at random moments of training. Whom it
        killed. Raises RuntimeError where the sweep ends before the last kill, or badly."""
        draw = random.Random(seed)
        process, killed = self.start(), list[str]()
        while len(killed) < kills:
            self._wait_for_training(process)
            time.sleep(draw.uniform(0, 6))
            workers = self.at_work()
            if process.poll() is not None:
                raise RuntimeError(f"the sweep ended, with {process.returncode}, after {killed}: train longer")
            if len(killed) % 2 == 0:
                os.kill(process.pid, signal.SIGKILL)
                process.wait()
                killed.append("driver")
                process = self.start()
            elif workers:
                trial = draw.choice(sorted(workers))
                os.kill(workers[trial], signal.SIGKILL)
                killed.append(trial)
        if code := process.wait(LONGEST):
            said = (self.path.parent / "said.txt").read_text(errors="replace")
            raise RuntimeError(f"the sweep ended with {code}, and last said: {said[-2000:]}")
        return killed

    def at_work(self) -> dict[str, int]:
        """Trial -> process id of its worker, for every worker that is alive in the middle of a trial."""
        found = {}
        for trial in [path.name for path in self.path.glob("trials/*")]:
            marks = [event for event in self.folder.events(trial) if "begin" in event or "end" in event]
            if marks and "begin" in marks[-1]:
                command = Path(f"/proc/{marks[-1]['pid']}/cmdline")
                if command.exists() and b"ray::" in command.read_bytes():
                    found[trial] = marks[-1]["pid"]
        return found

    def events(self) -> list[list[dict[str, Any]]]:
        """Every trial's events."""
        return [self.folder.events(path.name) for path in self.path.glob("trials/*")]

    @property
    def trained(self) -> float:
        """Epochs ever trained."""
        return epochs_trained(self.events())

    @property
    def distinct(self) -> float:
        """Epochs that the sweep consists of."""
        return read_sealed(self.path / "plan.json")["epochs_distinct"]

    @property
    def busy(self) -> float | None:
        """The share of the slots' time, in the last run of the command, in which trials were at work."""
        return busy_share(self.events())[1]

    def rewinds(self) -> list[tuple[str, float, float, float]]:
        """Every time that a training went back: its stage; the step it had reached, the step it went back to, and the
        last step at which a checkpoint was told of, in epochs."""
        told = [event for trial in self.events() for event in trial if "steps" in event]
        told.sort(key=lambda event: (event["stage"], event["time"]))
        found = []
        for stage, of_stage in groupby(told, key=lambda event: event["stage"]):
            reached = kept = 0.0
            for event in of_stage:
                start = (event["step"] - event["steps"]) / event["per_epoch"]
                if start < reached:
                    found.append((stage, reached, start, kept))
                reached = event["step"] / event["per_epoch"]
                kept = reached if event.get("checkpoint") else kept
        return found

    def _wait_for_training(self, process: subprocess.Popen) -> None:
        """Until this run of the command has trained something."""
        before = self.trained
        while self.trained == before and process.poll() is None:
            time.sleep(0.2)
