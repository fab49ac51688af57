"""Artifacts in S3, as moto's server plays it on this machine: they arrive, whole, and no credential does."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
from fake_sweeps import add, assert_complete, runs
from leaks import leaks_in_files, leaks_in_runs
from mlflow.artifacts import download_artifacts
from moto.server import ThreadedMotoServer

from orchestrator.engine.remote_folder import RemoteFolder
from orchestrator.spec.models import Tracking
from orchestrator.tracking.client import connect
from orchestrator.tracking.tracker import Tracker

Make = Callable[..., Path]
pytestmark = pytest.mark.slow
KEY, SECRET = "PLANTEDKEY00", "Planted/S3+secret"
DONE = "convnet_random_s90_seed0"


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[ThreadedMotoServer]:
    """A running server with the empty bucket `tickets`, named in the environment as a user would."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "MLFLOW_S3_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
    }  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3", endpoint_url=settings["MLFLOW_S3_ENDPOINT_URL"]).create_bucket(Bucket="tickets")
    yield server
    server.stop()


@pytest.mark.usefixtures("s3")
def test_files_arrive_and_come_back_with_equal_bytes(make_sweep: Make, tmp_path: Path) -> None:
    folder, uri = make_sweep(2), f"sqlite:///{tmp_path}/runs.db"
    (folder / "mlflow.db").rename(tmp_path / "runs.db")
    add(folder, "failed", "failed")
    ticket = bytes(range(256)) * 40_000  # 10 MB: boto3 sends it in parts
    (folder / "trials" / DONE / "ticket.safetensors").write_bytes(ticket)
    connect(uri).create_experiment("jackpot", artifact_location="s3://tickets/of/jackpot")
    tracker = Tracker(folder, "tiny", Tracking(uri=uri))
    report = tracker.sync(status="FINISHED")
    assert (report.message, len(report.logged)) == (None, 3)
    assert_complete(folder, uri)
    (folder / "report.html").write_text("<p>süß</p>")
    assert tracker.sync().message is None

    (run,), ((parent,),) = runs(uri)[DONE], runs(uri, "sweep").values()
    assert run.info.artifact_uri == f"s3://tickets/of/jackpot/{run.info.run_id}/artifacts"
    back = Path(download_artifacts(run_id=run.info.run_id, dst_path=str(tmp_path / "trial"), tracking_uri=uri))
    assert (back / "ticket.safetensors").read_bytes() == ticket
    assert (back / "log.txt").read_bytes() == b"started\n"
    assert '"conv"' in (back / "layers.json").read_text()
    whole = Path(download_artifacts(run_id=parent.info.run_id, dst_path=str(tmp_path / "sweep"), tracking_uri=uri))
    for name in ("report.html", "spec.yaml", "results.csv"):
        assert (whole / name).read_bytes() == (folder / name).read_bytes()

    again = Tracker(folder, "tiny", Tracking(uri=uri)).sync()
    assert (again.logged, len(again.skipped), again.message) == ([], 3, None)
    for planted in (KEY, SECRET):
        assert leaks_in_files(folder, planted) == []
        assert leaks_in_runs(uri, planted, tmp_path / planted[:7] / str(len(planted))) == []
        assert planted.encode() not in (tmp_path / "runs.db").read_bytes()


def test_a_ticket_that_was_not_brought_yet_is_brought(
    bucket: str, make_sweep: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep in an object store, gone on with on another machine, which has the results of the first, not its
    tickets."""
    first, uri = make_sweep(1), f"sqlite:///{tmp_path}/runs.db"
    monkeypatch.setenv("JACKPOT_CACHE", str(tmp_path / "one"))
    one = RemoteFolder(f"{bucket}/tiny")
    shutil.copytree(first, one.path, ignore=shutil.ignore_patterns("mlflow.db"))
    (one.trial(DONE) / "log.txt").rename(one.growing(DONE, "log.txt"))
    one.push()
    one.push(DONE)
    monkeypatch.setenv("JACKPOT_CACHE", str(tmp_path / "two"))
    two = RemoteFolder(f"{bucket}/tiny")
    two.pull()
    ticket = two.trial(DONE) / "ticket.safetensors"
    assert not ticket.exists()
    assert Tracker(two.path, "tiny", Tracking(uri=uri)).sync(status="FINISHED").message is None
    assert ticket.read_bytes() == (first / "trials" / DONE / "ticket.safetensors").read_bytes()
    assert_complete(two.path, uri)


def test_a_store_that_is_away_is_said_and_caught_up_with(
    s3: ThreadedMotoServer, make_sweep: Make, tmp_path: Path
) -> None:
    folder, uri = make_sweep(2), f"sqlite:///{tmp_path}/runs.db"
    (folder / "mlflow.db").rename(tmp_path / "runs.db")
    connect(uri).create_experiment("jackpot", artifact_location="s3://tickets")
    tracker = Tracker(folder, "tiny", Tracking(uri=uri))
    host, port = s3.get_host_and_port()
    s3.stop()
    start = time.monotonic()
    report = tracker.sync(status="FINISHED")
    message = report.message or ""
    assert time.monotonic() - start < 60
    assert len(report.failed) == 2
    assert "the files of runs cannot be stored: " in message
    assert str(port) in message
    assert SECRET not in message
    assert KEY not in message
    assert {run.data.metrics["accuracy/test"] for (run,) in runs(uri).values()} == {0.8}
    back = ThreadedMotoServer(host, port, verbose=False)  # with what the first one held
    back.start()
    try:
        assert tracker.sync().message is None
        assert_complete(folder, uri)
    finally:
        back.stop()
