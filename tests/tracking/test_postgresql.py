"""Runs in a PostgreSQL database, directly and through an MLflow server, and the password that stands nowhere."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_sweeps import add, assert_complete, runs
from leaks import leaks_in_files, leaks_in_runs
from postgresql import PASSWORD, Cluster
from test_follower import wait_until

from orchestrator.spec.models import Tracking
from orchestrator.tracking.follower import Follower
from orchestrator.tracking.tracker import Tracker
from orchestrator.tracking.ui import free_port, server

Make = Callable[..., Path]
pytestmark = pytest.mark.slow
OLDER = "451aebb31d03"  # MLflow 1.0's


def written(cluster: Cluster, database: str) -> tuple:
    """How much was ever written into the tables of a database: rows by kind of change, and MLflow's contents."""
    tables = ("runs", "metrics", "latest_metrics", "params", "tags", "datasets", "inputs", "experiment_tags")
    return tuple(
        tuple(sorted(map(str, cluster.query(database, f"select t.*, xmin from {table} t")))) for table in tables
    )


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg2"])
def test_two_passes_into_a_database(scheme: str, postgresql: Cluster, make_sweep: Make, monkeypatch: pytest.MonkeyPatch,
                                    tmp_path: Path) -> None:  # fmt: skip
    database = f"direct_{len(scheme)}"
    postgresql.create(database)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", postgresql.uri(database, scheme=scheme))
    folder = make_sweep(2)
    add(folder, "failed", "failed")
    first = Tracker(folder, "tiny", Tracking())
    report = first.sync(status="RUNNING")
    assert report.message is None
    assert (len(report.logged), report.failed) == (3, {})
    add(folder, "late")
    assert first.sync(status="FINISHED").logged == ["late"]
    assert_complete(folder, first.uri)
    before = written(postgresql, database)
    second = Tracker(folder, "tiny", Tracking()).sync()
    assert (second.logged, len(second.skipped), second.message) == ([], 4, None)
    assert written(postgresql, database) == before
    assert leaks_in_files(folder, PASSWORD) == []
    assert leaks_in_runs(first.uri, PASSWORD, tmp_path / "scratch") == []


def test_through_a_server_that_is_killed_in_the_middle(postgresql: Cluster, make_sweep: Make, tmp_path: Path) -> None:
    postgresql.create("served")
    folder, root, port, said = make_sweep(2), tmp_path / "stored", free_port("127.0.0.1", None), []
    tracking = Tracking(uri=f"http://127.0.0.1:{port}")
    database = postgresql.uri("served", scheme="postgresql+psycopg2")
    with server(database, root, "127.0.0.1", port) as (base, process):
        follower = Follower(folder, "tiny", tracking, said.append, interval=0.1)
        wait_until(lambda: len(runs(base)) == 2, 60)
        os.killpg(process.pid, signal.SIGKILL)
        add(folder, "while it was away")
        wait_until(lambda: bool(said), 60)
    with server(database, root, "127.0.0.1", port) as (base, _):
        add(folder, "failed", "failed")
        assert follower.close(60) is None
        assert_complete(folder, base)
        before = written(postgresql, "served")
        again = Tracker(folder, "tiny", tracking).sync()
        assert (again.logged, len(again.skipped), again.message) == ([], 4, None)
        assert written(postgresql, "served") == before
        assert leaks_in_runs(base, PASSWORD, tmp_path / "scratch") == []
    assert [line for line in said if "does not answer" in line] == said
    assert len(said) == 1
    assert leaks_in_files(folder, PASSWORD) == leaks_in_files(root, PASSWORD) == []


def test_a_wrong_password_is_said_without_it(
    postgresql: Cluster, make_sweep: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", postgresql.uri("postgres", "Planted/but wrong"))
    start = time.monotonic()
    message = Tracker(make_sweep(1), "tiny", Tracking()).sync().message or ""
    assert time.monotonic() - start < 20  # MLflow by itself tries for half an hour
    assert 'password authentication failed for user "jackpot"' in message
    assert "Planted" not in message


def test_the_password_may_stand_in_its_own_variable(
    postgresql: Cluster, make_sweep: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    postgresql.create("apart")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    folder, uri = make_sweep(1), postgresql.uri("apart", None)
    tracker = Tracker(folder, "tiny", Tracking(uri=uri))
    assert tracker.sync().message is None
    assert_complete(folder, tracker.uri)


@pytest.mark.parametrize(("revision", "expected"), [("older", "back it up, then run `mlflow db upgrade"),
                                                   ("feedbeefcafe", "of a newer schema (feedbeefcafe)")])  # fmt: skip
def test_a_database_of_another_schema_is_left_as_it_is(
    revision: str, expected: str, postgresql: Cluster, make_sweep: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = f"schema_{revision}"
    postgresql.create(database)
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    uri = postgresql.uri(database, None)
    assert Tracker(make_sweep(0), "tiny", Tracking(uri=uri)).sync().message is None
    old = OLDER if revision == "older" else revision
    postgresql.query(database, f"update alembic_version set version_num = '{old}'")
    before = written(postgresql, database)
    message = Tracker(make_sweep(1, "other"), "tiny", Tracking(uri=uri)).sync().message or ""
    assert expected in message
    assert PASSWORD not in message
    assert postgresql.query(database, "select version_num from alembic_version") == [(old,)]
    assert written(postgresql, database) == before
