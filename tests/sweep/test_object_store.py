"""A whole sweep in an object store: its driver killed, gone on with on another machine, read from a third."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import yaml
from chain import CHAIN
from typer.testing import CliRunner

from orchestrator.cli.app import app
from orchestrator.engine.remote import Remote
from orchestrator.engine.results import repeatable

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]
JACKPOT = Path(sys.executable).with_name("jackpot")
DENSE, TICKET = "convnet_dense_seed0", "convnet_lottery-fraction0.5_s70_seed0"


def run_on(machine: str, address: str, tmp_path: Path) -> subprocess.Popen:
    """Begin the sweep, or go on with it, in a process and a Ray of its own."""
    (tmp_path / "chain.yaml").write_text(yaml.safe_dump(CHAIN | {"tracking": {"enabled": True}}))
    places = {"JACKPOT_CACHE": str(tmp_path / machine), "HOME": str(tmp_path), "RAY_AUTH_MODE": "disabled"}
    return subprocess.Popen(
        [JACKPOT, "run", "chain.yaml", "--out", address], env={**os.environ, **places}, cwd=tmp_path, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


def jackpot(*arguments: str) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == 0, done.output
    return done.output


def test_killed_gone_on_with_elsewhere_and_read_from_a_laptop(
    calm: Path, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = f"{bucket}/sweeps/chain"
    remote = Remote(address)
    first = run_on("one", address, tmp_path)
    while first.poll() is None and not remote.objects("stages"):
        time.sleep(0.2)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    made = set(remote.objects("stages"))
    assert made
    assert not [name for name in remote.objects("trials") if name.endswith("result.json")]

    second = run_on("two", address, tmp_path)
    said, _ = second.communicate(timeout=400)
    assert second.returncode == 0, said
    assert made <= set(remote.objects("stages"))
    assert remote.objects("claims") == {}
    assert remote.get("driver.lock") is None
    (tmp_path / "results.csv").write_bytes(remote.get("results.csv") or b"")
    table = repeatable(pd.read_csv(tmp_path / "results.csv"))
    pd.testing.assert_frame_equal(table, repeatable(pd.read_csv(calm / "results.csv")))

    monkeypatch.setenv("JACKPOT_CACHE", str(tmp_path / "laptop"))
    status = json.loads(jackpot("status", address, "--json"))
    assert (status["counts"]["done"], status["driver"]) == (2, None)
    # what the kill lost was trained again; no checkpoint is older than half a minute
    assert 36 <= status["epochs_trained"] < 36 + 24
    jackpot("report", address)
    assert TICKET.encode() in (remote.get("report.html") or b"")
    assert "tested: accuracy" in jackpot("logs", f"{address}/{TICKET}")
    jackpot("export", f"{address}/{TICKET}", str(tmp_path / "ticket.safetensors"))
    assert (tmp_path / "ticket.safetensors").stat().st_size > 1000
    assert "2 trials logged" in jackpot("sync", address)
    (database,) = (tmp_path / "laptop").rglob("mlflow.db")
    client = mlflow.MlflowClient(f"sqlite:///{database}")
    (experiment,) = [each for each in client.search_experiments() if each.name == "jackpot"]
    runs = client.search_runs([experiment.experiment_id], "tags.`jackpot.kind` = 'trial'")
    assert sorted(each.data.tags["trial"] for each in runs) == [DENSE, TICKET]
