from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.spec.models import Tracking
from orchestrator.tracking.where import TrackingError, artifact_root, exclusive, is_server, uri_of


def test_the_spec_wins_then_the_environment_then_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert uri_of(tmp_path, Tracking()) == f"sqlite:///{tmp_path}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://there:5000")
    assert uri_of(tmp_path, Tracking()) == "http://there:5000"
    assert uri_of(tmp_path, Tracking(uri="postgresql+psycopg2://u@h/db")) == "postgresql+psycopg2://u@h/db"


def test_a_relative_database_starts_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    uri = uri_of(tmp_path / "sweep", Tracking(uri="sqlite:///all.db"))
    assert uri == f"sqlite:///{tmp_path}/all.db"
    assert artifact_root(tmp_path / "sweep", uri) == tmp_path / "mlartifacts"


def test_a_server_keeps_artifacts_itself(tmp_path: Path) -> None:
    assert is_server("https://there")
    assert artifact_root(tmp_path, "https://there") is None
    assert artifact_root(tmp_path, "postgresql://u@h/db") == tmp_path / "mlartifacts"


@pytest.mark.parametrize("uri", ["./mlruns", "file:///mlruns", "localhost:5000"])
def test_an_impossible_address_is_named_with_what_was_expected(uri: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"tracking.uri: '{uri}' .*expected http.*sqlite:///PATH.db"):
        uri_of(tmp_path, Tracking(uri=uri))


def test_one_writer_at_a_time_and_one_identity(tmp_path: Path) -> None:
    with (
        exclusive(tmp_path, 0) as first,
        pytest.raises(TrackingError, match="another process"),
        exclusive(tmp_path, 0.1),
    ):
        pass
    with exclusive(tmp_path, 0) as second:
        assert first == second
    (tmp_path / "tracking.id").write_text("half-wri")
    with exclusive(tmp_path, 0) as third:
        assert len(third) == 32
