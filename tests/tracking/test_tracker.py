from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_sweeps import DONE, add, assert_complete, runs, tracker

from orchestrator.engine.files import write_sealed
from orchestrator.engine.folder import SweepFolder
from orchestrator.tracking import client as clients
from orchestrator.tracking.where import own_database
from orchestrator.tracking.window import Window

Make = Callable[..., Path]


def test_every_outcome_is_logged_once_and_a_second_pass_does_nothing(make_sweep: Make) -> None:
    folder = make_sweep(2)
    for status in ("failed", "blocked", "diverged"):
        add(folder, status, status)
    first, second = tracker(folder).sync(status="FINISHED"), tracker(folder).sync()
    assert (len(first.logged), first.failed, first.message) == (5, {}, None)
    assert (second.logged, len(second.skipped)) == ([], 5)
    assert_complete(folder, own_database(folder))
    ((parent,),) = runs(own_database(folder), "sweep").values()
    assert (parent.info.run_name, parent.info.status) == ("tiny", "FINISHED")


def test_later_passes_take_what_is_new(make_sweep: Make) -> None:
    folder = make_sweep(1)
    follower = tracker(folder)
    assert follower.sync().logged == [DONE]
    add(folder, "new")
    (folder / "results.csv").write_text("trial\nnew\n")
    assert follower.sync().logged == ["new"]
    assert_complete(folder, own_database(folder))


def test_a_recomputed_trial_replaces_its_run(make_sweep: Make) -> None:
    folder = make_sweep(2)
    tracker(folder).sync()
    add(folder, DONE, "diverged", params={"recipe.lr": 0.5}, metrics={"loss/val": math.nan})
    (folder / "trials" / DONE / "ticket.safetensors").unlink()
    assert tracker(folder).sync().logged == [DONE]
    assert_complete(folder, own_database(folder))
    (run,) = runs(own_database(folder))[DONE]
    assert math.isnan(run.data.metrics["loss/val"])
    assert "accuracy/test" not in run.data.metrics


@pytest.mark.parametrize("name", ["tiny", "sp ace", "ümläut", "50%", "a%20b", "a#b", "a?b", "a&b=c", "it's"])
def test_a_ticket_takes_no_space_twice_whatever_the_folder_is_called(make_sweep: Make, name: str) -> None:
    folder = make_sweep(1, name)
    assert tracker(folder).sync().message is None
    assert_complete(folder, own_database(folder))
    # MLflow makes an empty folder by the name in the database's address, but nothing is lost in it
    others = [path for path in folder.parent.iterdir() if path != folder]
    assert not [path for other in others for path in other.rglob("*")]
    (kept,) = folder.glob("mlartifacts/*/artifacts/ticket.safetensors")
    assert kept.samefile(folder / "trials" / DONE / "ticket.safetensors")


def test_more_than_one_request_may_hold(make_sweep: Make) -> None:
    folder = make_sweep(0)
    history = [{"epoch": n, "loss/train": 1.0, "lr": 0.1, "time": 1.7e9 + n} for n in range(1, 801)]
    params = {f"model.{n}": n for n in range(150)} | {"recipe.lr": 0.1}
    add(folder, "long", history=history, params=params, versions={f"p{n}": "1" for n in range(120)})
    assert tracker(folder).sync().message is None
    assert_complete(folder, own_database(folder))


def test_a_mean_is_over_what_the_plan_counts(make_sweep: Make) -> None:
    folder = make_sweep(3)
    add(folder, "convnet_random_s90_seed1", seed=1, key="an older spec's", metrics={"accuracy/test": 0.1})
    keys = [{"trial": f"convnet_random_s90_seed{seed}", "key": "ab" * 32} for seed in (0, 1)]  # seed 2 was taken out
    write_sealed(folder / "plan.json", {"run": "r", "planned": keys})
    assert len(tracker(folder).sync().logged) == 3, "each result has its run"
    (mean,) = runs(own_database(folder), "aggregate")["random-smart s90"]
    assert (mean.data.metrics["seeds"], mean.data.metrics["accuracy/test"]) == (1, 0.8)


def test_events_without_a_plan_stop_nothing(make_sweep: Make) -> None:
    folder = make_sweep(1)
    SweepFolder(folder).tell("some", {"begin": "k", "run": "r"})
    report = tracker(folder).sync(status="RUNNING")
    assert (report.logged, report.message) == ([DONE], None)


def test_a_corrupt_result_is_named_and_the_others_logged(make_sweep: Make) -> None:
    folder = make_sweep(2)
    path = folder / "trials" / DONE / "result.json"
    path.write_text(path.read_text().replace("0.8", "0.9"))
    report = tracker(folder).sync()
    assert report.logged == ["convnet_random_s90_seed1"]
    assert "checksum" in report.failed[DONE]
    assert DONE in (report.message or "")


def test_a_sweep_of_the_same_name_elsewhere_is_left_alone(make_sweep: Make, tmp_path: Path) -> None:
    shared = own_database(make_sweep(0, "shared"))
    mine, yours = make_sweep(2, "mine"), make_sweep(2, "yours")
    assert tracker(mine, shared).sync().message is None
    assert len(tracker(yours, shared).sync().logged) == 2
    assert {len(same) for same in runs(shared).values()} == {2}
    assert tracker(mine, shared).sync().logged == []


def test_no_password_is_shown(make_sweep: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:1")
    message = tracker(make_sweep(0)).sync().message or ""
    assert "127.0.0.1:1" in message
    assert "secret" not in message


def test_an_unwritable_folder_is_a_message(tmp_path: Path) -> None:
    assert "No such file" in (tracker(tmp_path / "gone").sync().message or "")


def test_a_new_process_loads_mlflow_late_and_says_nothing(tmp_path: Path, make_sweep: Make) -> None:
    folder = make_sweep(1)
    (folder / "mlflow.db").unlink()
    program = (
        "import sys; from pathlib import Path\n"
        "import orchestrator.tracking.ui, orchestrator.tracking.follower\n"
        "from orchestrator.tracking.tracker import Tracker; from orchestrator.spec.models import Tracking\n"
        "assert not {'mlflow', 'torch'} & sys.modules.keys()\n"
        "report = Tracker(Path(sys.argv[1]), 'tiny', Tracking()).sync(status='FINISHED')\n"
        "assert len(report.logged) == 1 and report.message is None, report"
    )
    command = [sys.executable, "-c", program, str(folder)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert_complete(folder, own_database(folder))


def test_numbers_arrive_where_files_cannot_be_stored(make_sweep: Make, tmp_path: Path) -> None:
    folder, uri = make_sweep(3), f"sqlite:///{tmp_path}/runs.db"
    (tmp_path / "barrier").write_text("a file, where a folder should be")
    clients.connect(uri).create_experiment("jackpot", artifact_location=f"{tmp_path}/barrier/files")
    following = tracker(folder, uri)
    for _ in range(2):
        report = following.sync(status="FINISHED")
        assert "files of runs cannot be stored: " in (report.message or "")
        assert "server" not in (report.message or "")
        assert sorted(report.failed) == [f"convnet_random_s90_seed{seed}" for seed in range(3)]
        found = runs(uri)
        assert [len(same) for same in found.values()] == [1, 1, 1]
        assert {run.info.status for (run,) in found.values()} == {"FINISHED"}
        assert {run.data.metrics["accuracy/test"] for (run,) in found.values()} == {0.8}
        assert runs(uri, "sweep")["tiny"][0].info.status == "FINISHED"
    (tmp_path / "barrier").unlink()
    assert following.sync().message is None
    assert_complete(folder, uri)


def test_a_run_that_failed_has_no_ticket_of_an_earlier_result(make_sweep: Make) -> None:
    folder = make_sweep(1)
    ticket = folder / "trials" / DONE / "ticket.safetensors"
    add(folder, DONE, "failed")
    assert ticket.exists()
    tracker(folder).sync()
    assert_complete(folder, own_database(folder))


def test_runs_are_looked_for_only_where_others_may_have_made_them(
    make_sweep: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str | None] = []
    trials = Window.trials
    monkeypatch.setattr(Window, "trials", lambda self, trial=None: looked.append(trial) or trials(self, trial))
    folder = make_sweep(1)
    follower = tracker(folder)
    follower.sync()
    add(folder, "new")
    follower.sync()
    assert looked == [None]  # all at once, in the first pass
    add(folder, DONE, "diverged")
    (folder / "trials" / DONE / "ticket.safetensors").unlink()
    follower.sync()
    assert looked[1] == DONE  # it has one already
    looked.clear()
    add(folder, "other")
    tracker(folder).sync()  # as `jackpot sync` does
    add(folder, "last")
    follower.sync()
    assert looked == [None, "last", "other"]
    assert_complete(folder, own_database(folder))
