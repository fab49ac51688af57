"""Ten kills -9 at random moments: the results are those of a run that nobody disturbed."""

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.results import TIMES_AND_HOST
from orchestrator.engine.status import epochs_trained

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

JACKPOT = Path(sys.executable).with_name("jackpot")
EPOCHS = 16
SPEC = f"""
name: soak
data: digits
model: convnet
recipe: {{epochs: {EPOCHS}}}
methods: [dense, random, snip, {{name: lottery, fraction: 0.3}}]
sparsities: [0.9, 0.95]
seeds: [0, 1]
"""
KILLS = 10
SLOTS = 2


def start(folder):
    """The real command, as a process of its own."""
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled"}
    with open(folder.parent / "said.txt", "a") as said:
        command = [JACKPOT, "run", folder.parent / "soak.yaml", "--out", folder]
        return subprocess.Popen(command, stdout=said, stderr=said, start_new_session=True, env=environment)


def at_work(folder):
    """Trial -> process id of its worker, for every worker that is alive in the middle of a trial."""
    sweep, found = SweepFolder(folder), {}
    for trial in sweep.trials():
        marks = [event for event in sweep.events(trial) if "begin" in event or "end" in event]
        if marks and "begin" in marks[-1]:
            command = Path(f"/proc/{marks[-1]['pid']}/cmdline")
            if command.exists() and b"ray::" in command.read_bytes():
                found[trial] = marks[-1]["pid"]
    return found


def epochs(folder):
    sweep = SweepFolder(folder)
    return epochs_trained([sweep.events(trial) for trial in sweep.trials()])


def wait_for_training(folder, process):
    """Until this run of the command has trained something."""
    before = epochs(folder)
    while epochs(folder) == before and process.poll() is None:
        time.sleep(0.2)


def steady(folder):
    return pd.read_csv(folder / "results.csv").drop(columns=list(TIMES_AND_HOST))


def test_ten_kills(tmp_path):
    (tmp_path / "soak.yaml").write_text(SPEC)
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
    # A stage here trains for less than the 30 s between checkpoints, so a kill loses the stages in the making:
    # one of a worker, those of all slots with the driver. Everything complete before it is kept.
    lost = epochs(shaken) - distinct
    bound = sum(EPOCHS * (SLOTS if kill == "driver" else 1) for kill in kills)
    print(f"epochs: {distinct:g} distinct, {lost:g} trained twice, at most {bound} can be")
    assert 0 < lost <= bound

    database = sqlite3.connect(shaken / "mlflow.db")
    runs = database.execute("select status, count(*) from runs where lifecycle_stage = 'active' group by 1").fetchall()
    assert runs == [("FINISHED", 15)]  # the parent and each trial once
    trials = database.execute(
        "select count(*), count(distinct value) from tags join runs using (run_uuid) "
        "where key = 'jackpot.trial' and lifecycle_stage = 'active'"
    ).fetchone()
    assert trials == (14, 14)
