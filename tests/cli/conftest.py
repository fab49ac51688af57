"""A finished sweep for the verbs to look at."""

import shutil

import pytest
from command import SPEC

from orchestrator.engine.bench import Watch
from orchestrator.engine.check import check
from orchestrator.engine.files import write_sealed, write_text
from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.plan import make_plan
from orchestrator.engine.setting import Setting
from orchestrator.engine.trial import run_trial
from orchestrator.spec.loading import dump, load


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A folder that holds sweeps/small, finished: run trial by trial in this process, without Ray."""
    home = tmp_path_factory.mktemp("home")
    loaded = load(SPEC)
    assert loaded.report(check(loaded)) == []
    spec, sweep = loaded.require(), SweepFolder(home / "sweeps" / "small")
    plan = make_plan(spec)
    sweep.prepare()
    write_text(sweep.path / "spec.yaml", dump(spec))
    write_sealed(sweep.path / "plan.json", plan.summary(sweep.store.has) | {"run": "run"})
    for planned in plan.planned:
        sweep.tell(planned.id, {"begin": planned.chain.key, "pid": 0, "run": "test", "slots": 1})
        watch = Watch(
            trial=planned.id,
            tell=lambda event, trial=planned.id: sweep.tell(trial, event),
            **plan.instructions(planned),
        )
        result = run_trial(sweep, Setting(spec, planned.trial.model), planned.trial, planned.chain.key, watch)
        assert result["status"] == "done", result["error"]
        sweep.tell(planned.id, {"end": "done"})
    return home


@pytest.fixture
def here(finished, monkeypatch):
    monkeypatch.chdir(finished)
    monkeypatch.setenv("COLUMNS", "200")
    return finished


@pytest.fixture
def copied(here, tmp_path):
    """The finished sweep, for tests that change it."""
    shutil.copytree(here / "sweeps" / "small", tmp_path / "small")
    return tmp_path / "small"
