"""Ten kills -9 at random moments: the results are those of a run that nobody disturbed."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from itertools import groupby
from pathlib import Path

import pandas as pd
import pytest

from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.results import repeatable
from orchestrator.engine.status import epochs_trained

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

JACKPOT = Path(sys.executable).with_name("jackpot")
KILLS = 10
# two slots on any machine, so that the training lasts until the last kill
SPEC = """
name: soak
data: digits
model: convnet
recipe: {epochs: 16}
methods: [dense, random, snip, {name: lottery, fraction: 0.3}]
sparsities: [0.9, 0.95]
seeds: [0, 1]
concurrency: 2
"""
# Trainings of a few seconds, so checkpoints every second: set by a plugin, which every process of a sweep loads.
OFTEN = """
from methods.random import Random
from orchestrator.engine import training

training.CHECKPOINT_SECONDS = 1.0


class Often(Random):
    name = "often"
"""


def start(folder):
    """The real command, as a process of its own."""
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(folder.parent / "plugin")}
    with open(folder.parent / "said.txt", "a") as said:
        command = [JACKPOT, "run", folder.parent / "soak.yaml", "--out", folder]
        return subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True, env=environment)


def at_work(folder):
    """Trial -> process id of its worker, for every worker that is alive in the middle of a trial."""
    sweep, found = SweepFolder(folder), {}
    for trial in [path.name for path in folder.glob("trials/*")]:
        marks = [event for event in sweep.events(trial) if "begin" in event or "end" in event]
        if marks and "begin" in marks[-1]:
            command = Path(f"/proc/{marks[-1]['pid']}/cmdline")
            if command.exists() and b"ray::" in command.read_bytes():
                found[trial] = marks[-1]["pid"]
    return found


def events(folder):
    sweep = SweepFolder(folder)
    return [sweep.events(trial) for trial in [path.name for path in folder.glob("trials/*")]]


def epochs(folder):
    return epochs_trained(events(folder))


def rewinds(folder):
    """Every time that a training went back: the step it had reached, the step it went back to, and the last step
    at which a checkpoint was told of; in epochs."""
    told = [event for trial in events(folder) for event in trial if "steps" in event]
    told.sort(key=lambda event: (event["stage"], event["time"]))
    found = []
    for _, of_stage in groupby(told, key=lambda event: event["stage"]):
        reached = kept = 0.0
        for event in of_stage:
            start = (event["step"] - event["steps"]) / event["per_epoch"]
            if start < reached:
                found.append((reached, start, kept))
            reached = event["step"] / event["per_epoch"]
            kept = kept if "epoch" in event else reached  # the end of an epoch is no checkpoint
    return found


def wait_for_training(folder, process):
    """Until this run of the command has trained something."""
    before = epochs(folder)
    while epochs(folder) == before and process.poll() is None:
        time.sleep(0.2)


def steady(folder):
    return repeatable(pd.read_csv(folder / "results.csv"))


def test_ten_kills(tmp_path):
    (tmp_path / "soak.yaml").write_text(SPEC)
    points = tmp_path / "plugin" / "soak_often-1.dist-info"
    points.mkdir(parents=True)
    (points / "entry_points.txt").write_text("[jackpot.methods]\noften = soak_often:Often\n")
    (points / "METADATA").write_text("Metadata-Version: 2.1\nName: soak-often\nVersion: 1\n")
    (tmp_path / "plugin" / "soak_often.py").write_text(OFTEN)
    calm, shaken = tmp_path / "calm", tmp_path / "shaken"
    began = time.monotonic()
    assert start(calm).wait(600) == 0
    print(f"\nundisturbed: {time.monotonic() - began:.0f} s, {epochs(calm):g} epochs trained")

    draw, began = random.Random(2026), time.monotonic()
    process, kills = start(shaken), []
    while len(kills) < KILLS:
        wait_for_training(shaken, process)
        time.sleep(draw.uniform(0, 6))
        workers = at_work(shaken)
        if process.poll() is not None:
            pytest.fail(f"the sweep ended, with {process.returncode}, after {kills}: train longer")
        if len(kills) % 2 == 0:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills.append("driver")
            process = start(shaken)
        elif workers:
            trial = draw.choice(sorted(workers))
            os.kill(workers[trial], signal.SIGKILL)
            kills.append(trial)
    assert process.wait(900) == 0
    print(f"with kills of {', '.join(kills)}: {time.monotonic() - began:.0f} s, {epochs(shaken):g} epochs trained")

    assert list(steady(shaken)["status"]) == ["done"] * 14
    pd.testing.assert_frame_equal(steady(shaken), steady(calm))
    distinct = steady(shaken)["cost/epochs_new"].sum()
    assert epochs(calm) == distinct
    # all that was trained twice lies between a checkpoint, or a training's start, and a kill
    lost, back = epochs(shaken) - distinct, rewinds(shaken)
    print(f"epochs: {distinct:g} distinct, {lost:.2f} trained twice")
    for reached, back_to, kept in back:
        print(f"  epoch {reached:.2f} reached, back to {back_to:.2f}, last checkpoint at {kept:.2f}")
    assert lost == pytest.approx(sum(reached - back_to for reached, back_to, _ in back))
    assert all(back_to >= kept for _, back_to, kept in back)
    # and what is complete is never trained again
    store = SweepFolder(shaken).store
    for event in (event for trial in events(shaken) for event in trial if "steps" in event):
        assert event["time"] <= store.meta(event["stage"])["made"]

    database = sqlite3.connect(shaken / "mlflow.db")
    runs = database.execute("select status, count(*) from runs where lifecycle_stage = 'active' group by 1").fetchall()
    assert runs == [("FINISHED", 15)]  # the parent and each trial once
    trials = database.execute(
        "select count(*), count(distinct value) from tags join runs using (run_uuid) "
        "where key = 'jackpot.trial' and lifecycle_stage = 'active'"
    ).fetchone()
    assert trials == (14, 14)
