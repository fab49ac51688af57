"""A whole sweep in an object store: its driver killed, gone on with elsewhere, read from a third machine."""

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

from orchestrator.engine.remote import Remote
from orchestrator.engine.results import repeatable

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]

SPEC = {
    "name": "tiny",
    "data": "digits",
    "model": "convnet",
    "recipe": {"epochs": 20, "batch": 64, "lr": 0.1},
    "methods": ["dense", "snip", {"name": "lottery", "fraction": 0.7}],
    "sparsities": [0.7],
    "latency": {"enabled": False},
}


@pytest.fixture
def jackpot(tmp_path: Path, bucket: str):
    """The command line as one machine runs it, in a process of its own."""
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(SPEC))

    def begin(machine: str, *arguments: str) -> subprocess.Popen:
        environment = {
            **os.environ, "JACKPOT_CACHE": str(tmp_path / machine), "HOME": str(tmp_path), "RAY_AUTH_MODE": "disabled",
        }  # fmt: skip
        return subprocess.Popen(
            [str(Path(sys.executable).with_name("jackpot")), *arguments], env=environment, cwd=tmp_path, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    return begin


def ended(process: subprocess.Popen) -> str:
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 0, said
    return said


def test_killed_gone_on_with_elsewhere_and_read_from_a_laptop(jackpot, bucket: str, tmp_path: Path) -> None:
    address, remote = f"{bucket}/sweeps/tiny", Remote(f"{bucket}/sweeps/tiny")
    run = ("run", "tiny.yaml", "--out", address)
    first = jackpot("one", *run)
    while first.poll() is None and not remote.objects("stages"):
        time.sleep(0.2)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    made = set(remote.objects("stages"))
    assert made
    assert not [name for name in remote.objects("trials") if name.endswith("result.json")]

    ended(jackpot("two", *run))
    assert made <= set(remote.objects("stages"))
    assert remote.objects("claims") == {}
    assert remote.get("driver.lock") is None
    ended(jackpot("two", "run", "tiny.yaml", "--out", str(tmp_path / "local")))
    there = remote.get("results.csv")
    (tmp_path / "there.csv").write_bytes(there)
    tables = [repeatable(pd.read_csv(path)) for path in (tmp_path / "there.csv", tmp_path / "local" / "results.csv")]
    pd.testing.assert_frame_equal(*tables)
    assert set(tables[0]["status"]) == {"done"}

    status = json.loads(ended(jackpot("laptop", "status", address, "--json")))
    assert status["counts"]["done"] == 3
    assert status["driver"] is None
    assert status["epochs_trained"] == pytest.approx(status["epochs_distinct"], abs=20)
    ended(jackpot("laptop", "report", address))
    assert b"convnet_snip_s70_seed0" in remote.get("report.html")
    ended(jackpot("laptop", "sync", address))
    database = next((tmp_path / "laptop").rglob("mlflow.db"))
    client = mlflow.MlflowClient(f"sqlite:///{database}")
    (experiment,) = [each for each in client.search_experiments() if each.name == "jackpot"]
    runs = client.search_runs([experiment.experiment_id], "tags.`jackpot.kind` = 'trial'")
    assert sorted(each.data.tags["trial"] for each in runs) == sorted(tables[0]["trial"])
    ended(jackpot("laptop", "export", f"{address}/convnet_snip_s70_seed0", str(tmp_path / "ticket.safetensors")))
    assert "done" in ended(jackpot("laptop", "logs", f"{address}/convnet_snip_s70_seed0"))
