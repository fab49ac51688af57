"""Ctrl-C on the real command: it leaves in time, leaves nothing behind, and loses nothing."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import pandas as pd
import pytest
import ray
from chain import CHAIN
from ray.util import placement_group_table
from rich.console import Console

from orchestrator.api import run
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.results import repeatable
from orchestrator.engine.status import epochs_trained

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]

JACKPOT = Path(sys.executable).with_name("jackpot")
EPOCHS = 36
STARTING_SECONDS = 120


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "chain.yaml"
    path.write_text(json.dumps(CHAIN))  # JSON is YAML
    return path


def steady(folder):
    return repeatable(pd.read_csv(folder / "results.csv"))


@contextmanager
def at_work(spec, folder, home):
    """The command in a session of its own, as in a terminal of its own, in the middle of a training."""
    before = trained(folder)
    # in a folder whose modules have the names of Jackpot's own
    (home / "methods").mkdir(exist_ok=True)
    for module in ("methods/__init__.py", "orchestrator.py"):
        (home / module).write_text("raise ImportError('not Jackpot')")
    process = subprocess.Popen(
        [JACKPOT, "run", spec, "--out", folder],
        env={**os.environ, "HOME": str(home), "RAY_AUTH_MODE": "disabled", "COLUMNS": "500"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        cwd=home,
    )
    try:
        patience = time.monotonic() + STARTING_SECONDS
        while trained(folder) == before:
            assert time.monotonic() < patience, "no epoch was trained in time"
            assert process.poll() is None, process.communicate()[0]
            time.sleep(0.02)
        yield process
        everyone_has_left(process.pid)
    finally:
        process.kill()
        process.wait()


def stop_in_the_middle(folder):
    """Tell the sweep to stop, once it has trained an epoch more."""
    patience, before = time.monotonic() + STARTING_SECONDS, trained(folder)
    while trained(folder) == before:
        assert time.monotonic() < patience, "no epoch was trained in time"
        time.sleep(0.02)
    stopped = subprocess.run([JACKPOT, "stop", folder], capture_output=True, text=True, check=True, timeout=60)
    assert stopped.stdout == f"{folder}: stopped\n"


def trained(folder):
    sweep = SweepFolder(folder)
    return epochs_trained([sweep.events(path.name) for path in folder.glob("trials/*")])


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


def everyone_has_left(session):
    # on a busy machine the driver leaves before Ray has: Ray's agents then take a minute to give up on it
    patience = time.monotonic() + 90
    while left := alive(session):
        assert time.monotonic() < patience, f"still run: {left}"
        time.sleep(0.1)


def test_an_interrupted_and_a_stopped_sweep_lose_nothing(calm, spec, tmp_path):
    folder = tmp_path / "sweep"
    with at_work(spec, folder, tmp_path) as process:
        assert len(alive(process.pid)) > 3  # Ray's processes and the workers belong to the session
        before = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of its foreground group
        said = process.communicate(timeout=30)[0]
        assert time.monotonic() - before < 5, said
        assert process.returncode == 130, said
        assert f"To go on: jackpot run {folder}/spec.yaml --out {folder}" in said
        assert "Traceback" not in said

    # again, here, until `jackpot stop`: a worker that is at hand is sooner at work than a new Ray
    stopping = Thread(target=stop_in_the_middle, args=(folder,), daemon=True)
    stopping.start()
    outcome = run(CHAIN, out=folder, console=Console(file=io.StringIO()))
    stopping.join()
    assert outcome.exit_code == 130
    assert outcome.stopped == "jackpot stop"

    # to its end: nothing that was trained is trained again
    assert 0 < trained(folder) < EPOCHS
    assert run(CHAIN, out=folder, console=Console(file=io.StringIO())).exit_code == 0
    assert steady(folder).equals(steady(calm))
    assert trained(folder) == EPOCHS


def test_a_sweep_that_waits_for_machines_stops_at_once(calm, tmp_path):
    """All that the cluster has is in use, and nothing of the sweep is at work that could hear of it."""
    folder = tmp_path / "sweep"

    @ray.remote(num_cpus=2)
    class Busy:
        def there(self):
            return True

    other = Busy.remote()
    assert ray.get(other.there.remote(), timeout=STARTING_SECONDS)

    def stop():
        patience = time.monotonic() + STARTING_SECONDS
        while not any(group["state"] == "PENDING" for group in placement_group_table().values()):
            assert time.monotonic() < patience, "no trial waits for a machine"
            time.sleep(0.1)
        SweepFolder(folder).request_stop("jackpot stop")

    stopping = Thread(target=stop, daemon=True)
    stopping.start()
    try:
        outcome = run(CHAIN, out=folder, console=Console(file=io.StringIO()))
    finally:
        ray.kill(other)
    stopping.join()
    assert (outcome.exit_code, outcome.stopped) == (130, "jackpot stop")
    assert trained(folder) == 0
    # nothing is left behind that would keep it from going on
    assert run({**CHAIN, "methods": ["dense"]}, out=folder, console=Console(file=io.StringIO())).exit_code == 0
