from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import fake_sweeps
import postgresql as databases
import pytest

from orchestrator.tracking.client import connect


@pytest.fixture(autouse=True)
def _nothing_of_this_user(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with tables and no runs: making one takes two seconds, copying it none."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    connect(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def make_sweep(tmp_path: Path, empty_database: Path) -> Callable[..., Path]:
    """Makes a sweep's folder with so many finished trials and an empty database."""

    def make(trials: int, name: str = "tiny") -> Path:
        folder = fake_sweeps.sweep(tmp_path / name, trials)
        shutil.copy(empty_database, folder / "mlflow.db")
        return folder

    return make


@pytest.fixture(scope="session")
def postgresql(
    tmp_path_factory: pytest.TempPathFactory, needs_system: Callable[[bool, str], None]
) -> Iterator[databases.Cluster]:
    """A PostgreSQL with password authentication."""
    needs_system(databases.PROGRAMS is not None, "Debian's package postgresql")
    with databases.cluster(tmp_path_factory.mktemp("postgresql")) as cluster:
        yield cluster
