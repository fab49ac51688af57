"""`--tracking URI`: where runs are kept, for `run` and for one call of `sync` and `ui`."""

import json
import shutil

import pytest
import yaml
from command import SPEC, jackpot

from orchestrator.cli import run as verb


@pytest.fixture
def ran(monkeypatch):
    """The specs that `jackpot run` went on to run."""
    specs = []
    monkeypatch.setattr(verb, "_run", lambda spec, *rest, **options: specs.append(spec))
    return specs


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(json.dumps(SPEC | {"tracking": {"uri": "http://of-the-spec"}}))
    return path


def test_the_flag_goes_before_the_spec(spec, ran):
    for uri in ("http://of-the-flag:5000", "sqlite:////tmp/a #1.db", "postgresql://me@there/db"):
        assert jackpot("run", str(spec), "--tracking", uri).exit_code == 0
        assert ran.pop().tracking.uri == uri
    assert jackpot("run", str(spec)).exit_code == 0
    assert ran.pop().tracking.uri == "http://of-the-spec"


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("mlruns", "'mlruns' is no place MLflow keeps runs"),
        ("http://me:Pl4nted@there", "http://there was given with a password"),
    ],
)
def test_an_address_that_cannot_be_is_refused(uri, expected, spec, ran, copied):
    for command in (["run", str(spec)], ["sync", str(copied)], ["ui", str(copied)]):
        said = jackpot(*command, "--tracking", uri)
        assert said.exit_code == 2
        assert expected in said.output
        assert "tracking.uri: tracking.uri" not in said.output
        assert "Pl4nted" not in said.output
    assert ran == []


def test_it_is_no_use_where_tracking_is_off(spec, ran):
    said = jackpot("run", str(spec), "--tracking", "http://there", "--set", "tracking.enabled=false")
    assert said.exit_code == 2
    assert "add --set tracking.enabled=true" in said.output
    assert ran == []


def test_sync_for_one_call(copied, tmp_path, monkeypatch):
    (copied / "spec.yaml").write_text(yaml.safe_dump(SPEC | {"tracking": {"uri": f"sqlite:///{tmp_path}/spec.db"}}))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/environment.db")
    before = (copied / "spec.yaml").read_bytes()
    said = jackpot("sync", str(copied), "--tracking", f"sqlite:///{tmp_path}/flag.db")
    assert (said.exit_code, said.output) == (0, "3 trials logged, 0 were up to date\n")
    assert [path.name for path in sorted(tmp_path.glob("*.db"))] == ["flag.db"]
    assert (copied / "spec.yaml").read_bytes() == before
    shutil.copy(tmp_path / "flag.db", tmp_path / "spec.db")
    assert jackpot("sync", str(copied)).output == "0 trials logged, 3 were up to date\n"


def test_ui_for_one_call(copied):
    said = jackpot("ui", str(copied), "--tracking", "http://127.0.0.1:1")
    assert said.exit_code == 0
    assert "MLflow (http://127.0.0.1:1) is behind: the server does not answer" in said.output
    assert said.output.endswith("MLflow: http://127.0.0.1:1\n")
