"""Ctrl-C on the real command: it leaves in time, leaves nothing behind, and loses nothing."""

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from orchestrator.api import run
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.results import TIMES_AND_HOST
from orchestrator.engine.status import epochs_trained

pytestmark = pytest.mark.slow

JACKPOT = Path(sys.executable).with_name("jackpot")
SPEC = """
name: interrupted
data: digits
model: convnet
recipe: {epochs: 12}
methods: [dense, {name: lottery, fraction: 0.5}]
sparsities: [0.7]
seeds: [0]
"""
EPOCHS = 36  # the dense training and the levels at densities 0.5 and 0.3
STARTING_SECONDS = 120


@pytest.fixture(scope="module")
def spec(tmp_path_factory):
    path = tmp_path_factory.mktemp("spec") / "interrupted.yaml"
    path.write_text(SPEC)
    return path


@pytest.fixture(scope="module")
def calm(spec, cluster):
    """The results of a run that nobody disturbed."""
    return finish(spec, spec.parent / "calm")


def finish(spec, folder):
    """Run a sweep to its end, here; its results in the columns that two runs must share."""
    assert run(spec, out=folder, console=Console(file=io.StringIO())).exit_code == 0
    return pd.read_csv(folder / "results.csv").drop(columns=list(TIMES_AND_HOST))


@pytest.fixture
def started(tmp_path, spec):
    """The command at work in a session of its own, as in a terminal of its own, in the middle of a training."""
    folder = tmp_path / "sweep"
    process = subprocess.Popen(
        [JACKPOT, "run", spec, "--out", folder],
        env={**os.environ, "HOME": str(tmp_path), "RAY_AUTH_MODE": "disabled", "COLUMNS": "500"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        patience = time.monotonic() + STARTING_SECONDS
        while not trained(folder):
            assert time.monotonic() < patience, "no epoch was trained in time"
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.02)
        yield process, folder
    finally:
        process.kill()
        process.wait()


def trained(folder):
    sweep = SweepFolder(folder)
    return epochs_trained([sweep.events(trial) for trial in sweep.trials()])


def alive(session):
    """The processes of a session that still run: pid -> name."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = path.read_text().partition("(")[2].rpartition(")")
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
        state, _, _, its_session, *_ = rest.split()
        if int(its_session) == session and state != "Z":
            found[int(path.parent.name)] = name
    return found


@pytest.mark.parametrize("whom", ["process", "group"])
def test_ctrl_c_leaves_within_five_seconds_and_loses_nothing(calm, spec, started, whom):
    process, folder = started
    assert len(alive(process.pid)) > 3  # Ray's processes and the workers belong to the session
    before = time.monotonic()
    # a terminal sends it to all of its foreground group, `kill` to the driver alone
    (os.kill if whom == "process" else os.killpg)(process.pid, signal.SIGINT)
    said = process.communicate(timeout=30)[0]
    took = time.monotonic() - before

    assert process.returncode == 130, said
    assert took < 5, said
    assert f"To go on: jackpot run {folder}/spec.yaml --out {folder}" in said
    assert "Traceback" not in said
    assert 0 < trained(folder) < EPOCHS
    patience = time.monotonic() + 5
    while left := alive(process.pid):
        assert time.monotonic() < patience, f"still run: {left}"
        time.sleep(0.1)

    assert finish(spec, folder).equals(calm)
    assert trained(folder) == EPOCHS  # what was trained before the signal was not trained again
