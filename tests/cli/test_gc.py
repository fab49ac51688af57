"""gc drops what nobody needs, and nothing else."""

import errno
import json
import os
import shutil
import sqlite3

import pytest
import torch
from command import SPEC, jackpot

from orchestrator.engine.files import read_sealed
from orchestrator.engine.folder import SweepFolder
from orchestrator.sweep import driver


def test_gc_says_before_it_does(here):
    shown = jackpot("gc", "small", "--dry-run")
    assert "12 stages" in shown.stdout
    assert "would be dropped" in shown.stdout
    assert len(list((here / "sweeps/small").glob("stages/??/*/stage.json"))) == 13


def test_run_on_a_finished_sweep_trains_nothing_and_starts_no_ray(copied, monkeypatch):
    monkeypatch.setattr(driver, "ray_session", lambda *_: pytest.fail("Ray is started"))
    (copied.parent / "small.yaml").write_text(json.dumps({**SPEC, "tracking": {"enabled": False}}))
    shown = jackpot("run", str(copied.parent / "small.yaml"), "--out", str(copied))
    assert shown.exit_code == 0, shown.stderr
    assert "lottery" in shown.stdout
    assert f"results: {os.path.relpath(copied)}/results.csv" in shown.stdout
    assert len((copied / "results.csv").read_text().splitlines()) == 4


def test_run_refuses_the_folder_of_another_sweep(copied):
    (copied.parent / "other.yaml").write_text(json.dumps({**SPEC, "name": "other"}))
    before = (copied / "spec.yaml").read_text()
    shown = jackpot("run", str(copied.parent / "other.yaml"), "--out", str(copied))
    assert shown.exit_code == 2
    assert shown.stderr.startswith(f"{copied}: holds the sweep 'small', and the spec is named 'other'; choose another ")
    assert (copied / "spec.yaml").read_text() == before


def test_run_says_how_many_results_stand_no_more(copied, monkeypatch):
    monkeypatch.setattr(driver.Driver, "run", lambda *_: None)
    changed = {**SPEC, "recipe": {**SPEC["recipe"], "lr": 0.01}, "tracking": {"enabled": False}}
    (copied.parent / "small.yaml").write_text(json.dumps(changed))
    shown = jackpot("run", str(copied.parent / "small.yaml"), "--out", str(copied))
    assert "3 results are of other settings or other code: their trials run again" in shown.stderr


def test_the_runs_are_ended_in_mlflow_also_where_the_table_cannot_be_written(copied, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "results.csv")

    monkeypatch.setattr("orchestrator.sweep.run.write_csv", full)
    (copied.parent / "small.yaml").write_text(json.dumps(SPEC))
    shown = jackpot("run", str(copied.parent / "small.yaml"), "--out", str(copied))
    assert shown.exit_code == 2
    assert shown.stderr.endswith("results.csv: No space left on device; free space, then run the same command again\n")
    with sqlite3.connect(copied / "mlflow.db") as database:
        assert dict(database.execute("select status, count(*) from runs group by 1")) == {"FINISHED": 7}, (
            "the sweep, three means, three trials"
        )


def test_gc_drops_what_no_ticket_needs(copied, monkeypatch):
    assert jackpot("gc", str(copied)).stdout.startswith(f"{copied}: 12 stages, ")
    store = SweepFolder(copied).store
    assert [store.meta(key)["kind"] for key in store.stages()] == ["measure"]  # what cannot be had from a ticket
    assert jackpot("gc", str(copied)).stdout == f"{copied}: 0 stages, 0.0 MiB dropped\n"
    # nothing is computed again for want of the stages
    test_run_on_a_finished_sweep_trains_nothing_and_starts_no_ray(copied, monkeypatch)


def test_gc_drops_what_killed_workers_left_and_keeps_checkpoints_that_serve(copied):
    trial = "convnet_random_s70_seed0"
    key = read_sealed(copied / "trials" / trial / "result.json")["chain"][2]["key"]
    (copied / "trials" / trial / "result.json").unlink()
    shutil.rmtree(copied / "stages" / key[:2] / key)
    store = SweepFolder(copied).store
    store.save_checkpoint(key, 3, {"a": torch.ones(3)})
    store.save_checkpoint("0" * 64, 3, {"a": torch.ones(3)})  # of a stage that no trial asks for any more
    left = [copied / "checkpoints" / key / ".new.1a2b3c4d.tmp", copied / "trials" / trial / ".ticket.1a2b3c4d.tmp"]
    for path in left:
        path.write_bytes(b"half" * 2**18)
    (copied / "stages" / key[:2]).mkdir(exist_ok=True)
    folder = copied / "stages" / key[:2] / f".{key[:16]}.1a2b3c4d.tmp"
    folder.mkdir()
    (folder / "data.safetensors").write_bytes(b"half" * 2**18)
    shown = jackpot("gc", str(copied), "--dry-run").stdout
    assert folder.exists()
    assert jackpot("gc", str(copied)).stdout == shown.replace("would be ", "")
    assert float(shown.split()[-5]) >= 3
    assert not [path for path in (*left, folder, copied / "checkpoints" / ("0" * 64)) if path.exists()]
    assert store.load_checkpoint(key) is not None
    assert "0.0 MiB dropped" in jackpot("gc", str(copied)).stdout


def test_gc_keeps_what_a_trial_without_a_result_needs(copied):
    (copied / "trials/convnet_lottery-fraction0.7_s70_seed0/result.json").unlink()
    # the initial weights, the dense training, the ticket's masks, training, evaluation and latency; the measurement
    assert jackpot("gc", str(copied)).stdout.startswith(f"{copied}: 6 stages, ")
    assert len(list(copied.glob("stages/??/*/stage.json"))) == 7
