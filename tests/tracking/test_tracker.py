from __future__ import annotations

import math
import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fake_sweeps import add, assert_complete, runs

from orchestrator.engine.files import write_sealed
from orchestrator.engine.folder import SweepFolder
from orchestrator.spec.models import Tracking
from orchestrator.tracking import client as clients
from orchestrator.tracking.runs import RESULT
from orchestrator.tracking.tracker import Tracker
from orchestrator.tracking.where import own_database
from orchestrator.tracking.window import Window

Make = Callable[..., Path]
DONE = "convnet_random_s90_seed0"


def tracker(folder: Path, uri: str | None = None) -> Tracker:
    """As a new process would make it."""
    return Tracker(folder, "tiny", Tracking(uri=uri), patience=30)


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


class Killed(BaseException):
    """Stands for kill -9: nothing in the code may catch it."""


class Dying:
    """A client that dies at its n-th call, before or after the call took effect."""

    def __init__(self, client: object, call: int, after: bool) -> None:
        self.client, self.left, self.after = client, call, after

    def __getattr__(self, name: str) -> Callable:
        method = getattr(self.client, name)

        def call(*args: object, **options: object) -> object:
            self.left -= 1
            if self.left == 0 and not self.after:
                raise Killed
            answer = method(*args, **options)
            if self.left == 0:
                raise Killed
            return answer

        return call


@pytest.mark.parametrize("recomputed", [False, True])
@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_call_then_again(
    recomputed: bool, after: bool, make_sweep: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect, survived = clients.connect, False
    for call in range(1, 50):
        folder = make_sweep(1, f"tiny{call}")
        if recomputed:
            tracker(folder).sync()
            add(folder, DONE, attempts=2)
        monkeypatch.setattr(clients, "connect", lambda uri, call=call: Dying(connect(uri), call, after))
        try:
            tracker(folder).sync()
            survived = True
        except Killed:
            pass
        monkeypatch.setattr(clients, "connect", connect)
        assert tracker(folder).sync().message is None
        assert_complete(folder, own_database(folder))
        if survived:
            break
    assert survived
    assert call > 10


def test_two_passes_at_once(make_sweep: Make) -> None:
    folder = make_sweep(4)
    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(lambda one: one.sync(), [tracker(folder), tracker(folder)]))
    assert sorted(len(report.logged) for report in reports) == [0, 4]
    assert_complete(folder, own_database(folder))


def test_doubles_are_removed(make_sweep: Make) -> None:
    # a server that answered too late to be heard may have made a run twice
    folder = make_sweep(1)
    tracker(folder).sync()
    client, uri = clients.connect(own_database(folder)), own_database(folder)
    for run in [runs(uri)[DONE][0], runs(uri, "sweep")["tiny"][0]]:
        tags = {name: value for name, value in run.data.tags.items() if name != RESULT}
        client.create_run(run.info.experiment_id, tags=tags, run_name=run.info.run_name)
    assert tracker(folder).sync().message is None
    assert_complete(folder, uri)


def test_runs_deleted_in_the_browser_come_back(make_sweep: Make) -> None:
    folder = make_sweep(2)
    following = tracker(folder)
    following.sync()
    client, uri = clients.connect(own_database(folder)), own_database(folder)
    client.delete_run(runs(uri)[DONE][0].info.run_id)
    client.delete_run(runs(uri, "sweep")["tiny"][0].info.run_id)
    assert tracker(folder).sync().logged == [DONE]
    assert_complete(folder, uri)


def test_a_parent_deleted_while_following_comes_back(make_sweep: Make) -> None:
    folder = make_sweep(1)
    following = tracker(folder)
    following.sync()
    uri = own_database(folder)
    clients.connect(uri).delete_run(runs(uri, "sweep")["tiny"][0].info.run_id)
    (folder / "results.csv").write_text("more\n")
    assert "/tiny` catches up" in (following.sync().message or "")
    assert following.sync().message is None
    assert_complete(folder, uri)


def test_a_deleted_experiment_is_reported_with_the_remedy(make_sweep: Make) -> None:
    folder = make_sweep(1)
    tracker(folder).sync()
    client = clients.connect(own_database(folder))
    client.delete_experiment(client.get_experiment_by_name("jackpot").experiment_id)
    message = tracker(folder).sync().message or ""
    assert "mlflow experiments restore --experiment-id" in message


def test_a_moved_folder_is_reported_with_the_remedy(make_sweep: Make, tmp_path: Path) -> None:
    tracker(make_sweep(1)).sync()
    moved = (tmp_path / "tiny").rename(tmp_path / "moved")
    assert "was moved" in (tracker(moved).sync().message or "")
    assert not (tmp_path / "tiny").exists()
    (moved / "mlflow.db").unlink()
    shutil.rmtree(moved / "mlartifacts")
    again = moved.rename(tmp_path / "again")  # this process still holds the old database open
    assert tracker(again).sync().message is None
    assert_complete(again, own_database(again))


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
