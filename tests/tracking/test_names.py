"""Names as people give them: slashes, quotes, other scripts, and very long ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from fake_sweeps import add, assert_complete, runs

from orchestrator.spec.loading import load
from orchestrator.spec.models import Tracking
from orchestrator.tracking.client import connect
from orchestrator.tracking.tracker import Tracker
from orchestrator.tracking.where import own_database

Make = Callable[..., Path]
NAMES = ["a/b\\c", "it's", '"quoted" `name`', "süß 彩票 🎟", "100% #1?&=;", "x" * 250, "' or '1'='1"]


@pytest.mark.parametrize("name", NAMES)
def test_experiment_sweep_and_label_may_be_called_anything(name: str, make_sweep: Make) -> None:
    folder = make_sweep(1)
    label = name * 2 if len(name) > 100 else name
    add(folder, "named", label=label, method=name, arm=label)
    tracking = Tracking(experiment=name)
    first = Tracker(folder, name, tracking)
    report = first.sync(status="FINISHED")
    assert report.message is None
    assert len(report.logged) == 2
    add(folder, "late", label=label, method=name, arm=label, seed=1)
    assert first.sync().logged == ["late"]
    again = Tracker(folder, name, tracking).sync()
    assert (again.logged, len(again.skipped), again.message) == ([], 3, None)
    client, uri = connect(own_database(folder)), own_database(folder)
    assert client.get_experiment_by_name(name) is not None
    ((parent,),) = runs(uri, "sweep").values()
    assert parent.info.run_name == name
    cells = [run for same in runs(uri, "aggregate").values() for run in same]
    assert sorted(run.data.params["label"] for run in cells) == sorted(["random-smart", label])
    assert sorted(run.data.metrics["seeds"] for run in cells) == [1, 2]


@pytest.mark.parametrize("trial", ["it's", 'a "b" c', "back\\", "süß", "' or '1'='1", "t" * 250])
def test_a_trial_may_be_called_anything(trial: str, make_sweep: Make) -> None:
    folder = make_sweep(1)
    following = Tracker(folder, "tiny", Tracking())
    following.sync()
    add(folder, trial, seed=1)
    assert following.sync().logged == [trial]  # found by its name, as later passes do
    add(folder, trial, seed=1, attempts=2)
    report = following.sync()
    assert (report.logged, report.message) == ([trial], None)
    assert_complete(folder, own_database(folder))


FILES = [
    "a b.json",
    "it's.json",
    'qu"ote.json',
    "süß.json",
    "süß?.json",
    "süß_.json",
    "50%20#1.json",
    "f" * 240 + ".json",
]


def test_files_may_be_called_anything_and_none_is_taken_for_another(make_sweep: Make) -> None:
    folder = make_sweep(1)
    (folder / "ratios").mkdir()
    for name in FILES:
        (folder / "ratios" / name).write_text(name)
    uri = own_database(folder)
    assert Tracker(folder, "tiny", Tracking()).sync(status="FINISHED").message is None
    ((parent,),) = runs(uri, "sweep").values()
    stored = folder / "mlartifacts" / parent.info.run_id / "artifacts" / "ratios"
    # some characters are replaced, for MLflow's client cuts an address off at them
    assert sorted(path.read_text() for path in stored.iterdir()) == sorted(FILES)
    plain = [name for name in FILES if not {*name} & {*"#?%"}]
    assert len(plain) == len(FILES) - 2
    assert [(stored / name).read_text() for name in plain] == plain
    before = {path.name: path.stat().st_mtime_ns for path in stored.iterdir()}
    assert Tracker(folder, "tiny", Tracking()).sync().message is None
    assert {path.name: path.stat().st_mtime_ns for path in stored.iterdir()} == before


def test_an_experiment_s_name_that_no_database_holds_is_refused() -> None:
    spec = {"name": "x", "data": "digits", "model": "convnet", "recipe": {"epochs": 1}, "methods": ["dense"]}
    assert load({**spec, "tracking": {"experiment": "e" * 256}}).report() == []
    (line,) = load({**spec, "tracking": {"experiment": "e" * 300}}).report()
    assert line.startswith("spec: tracking.experiment: expected at most 256 characters, found the text")
