"""The password of a tracking server: it works from the environment, and stands nowhere afterwards."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from fake_sweeps import add, runs
from faulty_mlflow import Proxy, faulty
from leaks import leaks_in_files, leaks_in_runs

from orchestrator.spec.models import Tracking
from orchestrator.tracking.follower import Follower
from orchestrator.tracking.tracker import Tracker
from orchestrator.tracking.ui import serve

Make = Callable[..., Path]
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("a guarded server")]
PASSWORD = "Planted/pass:word@9%"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """A server that wants a name and a password."""
    with faulty(tmp_path_factory.mktemp("guarded")) as (_, proxy):
        proxy.wanted = "Basic " + base64.b64encode(f"me:{PASSWORD}".encode()).decode()
        yield proxy


def in_the_address(proxy: Proxy) -> dict[str, str]:
    return {"MLFLOW_TRACKING_URI": proxy.uri.replace("://", f"://me:{quote(PASSWORD, safe='')}@")}


def in_variables(proxy: Proxy) -> dict[str, str]:
    return {
        "MLFLOW_TRACKING_URI": proxy.uri, "MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": PASSWORD,
    }  # fmt: skip


@pytest.mark.parametrize("given", [in_the_address, in_variables])
def test_it_works_and_stands_nowhere(
    given: Callable[[Proxy], dict[str, str]], guarded: Proxy, make_sweep: Make, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture,
) -> None:  # fmt: skip
    for name, value in given(guarded).items():
        monkeypatch.setenv(name, value)
    folder, said = make_sweep(1, given.__name__), []
    (folder / "ratios").mkdir()
    names = ["50%20#1?.json", "50%20#2?.json", "it's süß.json"]  # which MLflow's client puts into an address
    for name in names:
        (folder / "ratios" / name).write_text(name)
    tracking = Tracking(experiment=given.__name__)
    follower = Follower(folder, "tiny", tracking, said.append, interval=0.1)
    add(folder, "failed", "failed")
    assert follower.close(60) is None
    uri = given(guarded)["MLFLOW_TRACKING_URI"]
    (parent,) = [run for run in runs(uri, "sweep")["tiny"] if run.data.tags["jackpot.id"] in _identity(folder)]
    assert leaks_in_runs(uri, PASSWORD, tmp_path / "scratch") == []
    stored = tmp_path / "scratch" / parent.info.run_id / "ratios"
    assert sorted(path.read_text() for path in stored.iterdir()) == names
    assert (stored / names[-1]).exists()
    # what is said when all is well, and when it is not
    serve(folder, "tiny", tracking, said.append)
    guarded.fault = "errors"
    try:
        said.append(Tracker(folder, "tiny", tracking).sync().message or "")
    finally:
        guarded.fault = "nothing"
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "Planted too")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", guarded.uri.replace("://", "://me:Planted%20too@"))
    said.append(Tracker(folder, "tiny", tracking).sync().message or "")
    assert "401" in said[-1]
    assert guarded.uri in said[0]
    everything = "\n".join([*said, *capfd.readouterr()])
    for word in (PASSWORD, quote(PASSWORD), quote(PASSWORD, safe=""), "Planted"):
        assert word not in everything
    assert leaks_in_files(folder, PASSWORD) == leaks_in_files(folder, "Planted") == []


def _identity(folder: Path) -> str:
    return (folder / "tracking.id").read_text()
