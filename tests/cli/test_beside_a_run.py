"""Commands beside a sweep that another process drives: they look at it, are refused, or end it. The driver here
is this test, which holds the lock as a driver does."""

import errno
import os
import threading
import time
from types import SimpleNamespace

import pytest
import typer
from typer.testing import CliRunner

from orchestrator.cli import status, stop
from orchestrator.cli.app import app
from orchestrator.engine.files import write_sealed, write_text
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.plan import make_plan
from orchestrator.engine.remote import RemoteError
from orchestrator.spec.loading import dump
from orchestrator.spec.models import Spec


def jackpot(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def driven(tmp_path):
    """A sweep of two trials, driven by this process, the first of them at work."""
    recipe = {"epochs": 2}
    spec = Spec.model_validate(
        {"name": "busy", "data": "digits", "model": "convnet", "recipe": recipe, "methods": ["dense"], "seeds": [0, 1]}
    )
    sweep = SweepFolder(tmp_path / "busy")
    sweep.prepare()
    with sweep.driving():
        write_text(sweep.path / "spec.yaml", dump(spec))
        write_sealed(sweep.path / "plan.json", make_plan(spec).summary(sweep.store.has) | {"run": "run"})
        sweep.tell("convnet_dense_seed0", {"begin": "key", "pid": os.getpid(), "run": "run", "slots": 2})
        yield sweep


@pytest.fixture
def driver():
    return f"process {os.getpid()} on {os.uname().nodename}"


def test_status_says_who_drives_it_and_what_runs(driven, driver):
    shown = jackpot("status", driven.path)
    assert shown.exit_code == 0
    assert shown.stdout.splitlines()[:3] == [
        f"busy: running, {driver}",
        "2 trials: 1 running, 1 left",
        "  running: convnet_dense_seed0",
    ]


def test_status_watch_moves_with_every_epoch(driven, monkeypatch):
    """An epoch that ends between two looks is in the next, which comes within seconds, also where it must be brought
    from an object store."""
    waits = []

    def sleep(seconds):
        waits.append(seconds)
        if len(waits) == 3:
            raise typer.Exit

    def pull(folder):
        if waits:  # the first is that of finding the sweep
            driven.tell("convnet_dense_seed0", {"kind": "train", "epoch": len(waits), "steps": 6, "per_epoch": 6})

    monkeypatch.setattr(status, "time", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(SweepFolder, "pull", pull)
    shown = jackpot("status", driven.path, "--watch")
    assert [line for line in shown.stdout.splitlines() if line.startswith("epochs:")] == [
        f"epochs: {trained} trained, 4 distinct in the plan" for trained in (0, 1, 2)
    ]
    assert max(waits) <= 3


@pytest.mark.parametrize("verb", ["run", "gc"])
def test_a_second_driver_is_refused(driven, driver, verb):
    before = (driven.path / "spec.yaml").stat().st_mtime_ns
    folder = driven.path
    shown = jackpot("gc", folder) if verb == "gc" else jackpot("run", folder / "spec.yaml", "--out", folder)
    assert shown.exit_code == 2
    assert shown.stderr == (
        f"{folder}: another process is driving this sweep ({driver}); wait for it, or end it with "
        f"`jackpot stop {folder}`\n"
    )
    assert (folder / "spec.yaml").stat().st_mtime_ns == before


def test_gc_dry_run_only_looks(driven):
    assert jackpot("gc", driven.path, "--dry-run").exit_code == 0


def test_stop_waits_until_the_driver_has_ended(tmp_path, driven):
    other, left = SweepFolder(tmp_path / "other"), []
    other.prepare()
    write_text(other.path / "plan.json", "")

    def drive():
        with other.driving():
            ready.set()
            while not other.stop_requested():
                time.sleep(0.02)
            left.append(other.stop_file.read_text())
            time.sleep(0.5)

    ready = threading.Event()
    thread = threading.Thread(target=drive)
    thread.start()
    ready.wait(10)
    shown = jackpot("stop", other.path)
    assert shown.stdout == f"{other.path}: stopped\n"
    assert left == ["jackpot stop\n"]
    assert other.driver() is None
    thread.join()


def test_stop_says_when_the_driver_does_not_end(driven, driver, monkeypatch):
    monkeypatch.setattr(stop, "WAIT_SECONDS", 0.3)
    shown = jackpot("stop", driven.path)
    assert shown.exit_code == 2
    assert shown.stderr == f"{driven.path}: asked to stop, but {driver} still runs after 0 s\n"
    assert driven.stop_requested()


def test_logs_of_a_trial_at_work_and_of_one_that_has_not_begun(driven):
    driven.trial("convnet_dense_seed0").joinpath("log.txt").write_text("continuing\n")
    shown = jackpot("logs", driven.path / "convnet_dense_seed0")
    assert (shown.exit_code, shown.stdout) == (0, "continuing\nconvnet_dense_seed0: no result yet\n")
    driven.trial("convnet_dense_seed1").mkdir()
    shown = jackpot("logs", driven.path / "convnet_dense_seed1")
    assert (shown.exit_code, shown.stderr) == (2, f"{driven.path}/convnet_dense_seed1: has not run yet\n")


def test_logs_of_a_trial_in_several_sweeps_asks_which(driven, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("one", "two"):
        (tmp_path / "sweeps" / name / "trials" / "dense_seed0").mkdir(parents=True)
    shown = jackpot("logs", "dense_seed0")
    assert shown.exit_code == 2
    sweeps = tmp_path / "sweeps"
    assert shown.stderr == (
        f"dense_seed0: in several sweeps; name one of: {sweeps}/one/trials/dense_seed0, "
        f"{sweeps}/two/trials/dense_seed0\n"
    )
    # SWEEP/TRIAL tells them apart
    assert jackpot("logs", "one/dense_seed0").stderr == "one/dense_seed0: has not run yet\n"
    assert jackpot("logs", sweeps / "two" / "trials" / "dense_seed0").stderr.endswith("has not run yet\n")


def test_stopping_where_the_store_is_away_says_so(driven, monkeypatch):
    def away(folder):
        raise RemoteError(errno.EIO, "the object store does not take part: refused", "s3://bucket/small/driver.lock")

    monkeypatch.setattr(SweepFolder, "driver", away)
    shown = jackpot("stop", driven.path)
    assert (shown.exit_code, shown.stderr) == (
        2, "s3://bucket/small/driver.lock: the object store does not take part: refused\n",
    )  # fmt: skip
