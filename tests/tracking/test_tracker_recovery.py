"""Passes that are killed or meet, and runs that are twice there, deleted or moved: the next pass mends it."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fake_sweeps import DONE, add, assert_complete, runs, tracker

from orchestrator.tracking import client as clients
from orchestrator.tracking.runs import RESULT
from orchestrator.tracking.where import own_database

Make = Callable[..., Path]


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
