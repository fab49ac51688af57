"""A sweep's folder in an object store, as several machines see it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable

import pytest

from orchestrator.engine import remote_folder
from orchestrator.engine.files import write_sealed, write_text
from orchestrator.engine.finding import find_sweep, find_trial
from orchestrator.engine.folder import FolderError
from orchestrator.engine.remote import Remote, RemoteError
from orchestrator.engine.remote_folder import RemoteFolder
from orchestrator.sweep import collect

Machine = Callable[[str], RemoteFolder]
pytestmark = pytest.mark.slow


def test_what_one_machine_writes_another_sees(machine: Machine) -> None:
    here, there = machine("here"), machine("there")
    write_text(here.path / "spec.yaml", "name: tiny\n")
    write_sealed(here.trial("a") / "result.json", {"trial": "a", "key": "k"})
    (here.trial("a") / "ticket.safetensors").write_bytes(b"ticket")
    here.push()
    here.push("a")
    there.pull()
    assert (there.path / "spec.yaml").read_text() == "name: tiny\n"
    assert there.result("a") == {"trial": "a", "key": "k"}
    assert not (there.trial("a") / "ticket.safetensors").exists(), "tickets are large: brought when asked for"
    there.pull("a")
    assert (there.trial("a") / "ticket.safetensors").read_bytes() == b"ticket"

    (here.trial("a") / "ticket.safetensors").unlink()
    write_sealed(here.trial("a") / "result.json", {"trial": "a", "key": "other"})
    here.push("a")
    there.pull("a")
    assert there.result("a") == {"trial": "a", "key": "other"}
    assert not (there.trial("a") / "ticket.safetensors").exists()


def test_only_what_changed_is_sent(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = machine("here"), machine("there")
    sent, fetched = [], []
    put, fetch = Remote.put, Remote.fetch
    monkeypatch.setattr(Remote, "put", lambda self, name, content: (sent.append(name), put(self, name, content))[1])
    monkeypatch.setattr(Remote, "fetch", lambda self, name, path: (fetched.append(name), fetch(self, name, path))[1])
    for name in ("x", "y"):
        write_text(here.trial("a") / name, name)
    here.push("a")
    there.pull("a")
    write_text(here.trial("a") / "y", "changed")
    here.push("a")
    here.push("a")
    there.pull("a")
    there.pull("a")
    machine("here").pull("a")  # its own
    assert sent == ["trials/a/x", "trials/a/y", "trials/a/y"]
    assert fetched == sent


def test_events_of_several_machines_are_put_together_once(machine: Machine) -> None:
    first, second, driver = machine("first"), machine("second"), machine("driver")
    first.tell("a", {"begin": "k", "run": "r"})
    first.tell("a", {"steps": 1})
    first.push("a")
    driver.pull("a")
    second.pull("a")
    second.tell("a", {"begin": "k", "run": "r"})
    second.push("a")
    first.tell("a", {"steps": 2})  # taken for dead, and still at work
    first.push("a")
    for _ in range(2):
        driver.pull("a")
        second.pull("a")
    kinds = [next(key for key in event if key != "time") for event in driver.events("a")]
    assert sorted(kinds) == ["begin", "begin", "steps", "steps"]
    assert len(second.events("a")) == 4
    fresh = machine("laptop")
    fresh.pull()
    assert sorted(event["time"] for event in fresh.events("a")) == sorted(e["time"] for e in driver.events("a"))


def test_an_append_that_was_cut_off_before_it_was_noted_is_not_doubled(machine: Machine) -> None:
    one, driver = machine("one"), machine("driver")
    one.tell("a", {"steps": 1})
    one.push("a")
    driver.pull("a")
    with open(driver.trial("a") / "events.jsonl", "ab") as file:  # as far as a killed one came
        file.write(b'\n{"time": 1, "steps": 99}\n')
    one.tell("a", {"steps": 2})
    one.push("a")
    driver.pull("a")
    assert [event["steps"] for event in driver.events("a")] == [1, 2]


def test_one_drives(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = machine("here"), machine("there")
    with here.driving():
        assert here.still_driving()
        assert here.driver() == there.driver()
        assert here.driver().startswith("process ")
        with pytest.raises(FolderError, match=r"another process is driving .* add --take-over"), there.driving():
            pass
        with there.driving(take_over=True):
            assert not here.still_driving()
        assert there.driver() is None
    assert here.driver() is None
    with there.driving(), pytest.raises(FolderError, match="another process"), here.driving():
        pass


def test_the_place_of_a_driver_that_died_here_is_taken(machine: Machine) -> None:
    here = machine("here")
    code = (
        "import os, sys\nfrom orchestrator.engine.remote_folder import RemoteFolder\n"
        "with RemoteFolder(sys.argv[1]).driving():\n    os._exit(1)\n"
    )
    subprocess.run([sys.executable, "-c", code, here.address], check=False)
    held = json.loads(here.remote.get("driver.lock"))
    assert held["pid"]
    assert here.driver() is None
    with here.driving():
        assert here.still_driving()

    # of another machine nothing is known
    here.remote.put("driver.lock", json.dumps({**held, "host": "elsewhere"}).encode())
    assert here.driver() == held["who"]
    with pytest.raises(FolderError, match="add --take-over"), here.driving():
        pass


def test_stop_and_turn_reach_other_machines(machine: Machine) -> None:
    here, there = machine("here"), machine("there")
    assert here.stop_requested() is None
    assert here.turn() == -1
    there.request_stop("jackpot stop")
    there.say_turn(3)
    assert (here.stop_requested(), here.turn()) == ("jackpot stop", 3)
    with here.driving():
        assert there.stop_requested() is None


def test_a_machine_that_has_lost_its_copy_goes_on_with_what_it_told(machine: Machine) -> None:
    worker, driver = machine("worker"), machine("driver")
    for step in range(3):
        worker.tell("a", {"steps": step})
    worker.push("a")
    driver.pull("a")
    shutil.rmtree(worker.path)
    worker = machine("worker")
    worker.pull("a")
    assert [event["steps"] for event in worker.events("a")] == [0, 1, 2]
    worker.tell("a", {"steps": 3})
    worker.push("a")
    driver.pull("a")
    assert [event["steps"] for event in driver.events("a")] == [0, 1, 2, 3]


def test_a_sweep_and_a_trial_are_found_by_address(machine: Machine, bucket: str) -> None:
    here = machine("here")
    with pytest.raises(FolderError, match="no sweep here"):
        find_sweep(here.address)
    write_sealed(here.path / "plan.json", {"planned": []})
    write_sealed(here.trial("a") / "result.json", {"trial": "a", "key": "k"})
    (here.trial("a") / "ticket.safetensors").write_bytes(b"ticket")
    here.push()
    here.push("a")
    laptop = machine("laptop")
    folder, trial = find_trial(f"{bucket}/tiny/a")
    assert (folder.address, trial) == (f"{bucket}/tiny", "a")
    assert (folder.trial("a") / "ticket.safetensors").exists()
    assert find_trial(folder.trial("a"))[0].address == folder.address  # by its path on this machine
    write_text(here.path / "spec.yaml", "name: grown\n")
    here.push()
    assert (find_sweep(laptop.path).path / "spec.yaml").read_text() == "name: grown\n"  # what others wrote since
    with pytest.raises(FolderError, match="no such trial"):
        find_trial(f"{bucket}/tiny/b")


def test_stages_are_collected_by_what_is_planned_now(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = machine("here"), machine("there")
    write_text(here.path / "spec.yaml", "name: small\n")
    here.push()
    there.pull()
    write_text(there.path / "spec.yaml", "name: grown\n")
    there.push()
    read: list[str] = []
    monkeypatch.setattr(collect, "collect", lambda folder: read.append((folder.path / "spec.yaml").read_text()))
    collect.collect_alone(here)
    assert read == ["name: grown\n"]


def test_a_store_that_cannot_be_used_is_said_at_once(machine: Machine, bucket: str) -> None:
    for address in ("s3://there-is-no-such-bucket/tiny", "nosuch://x/tiny"):
        with pytest.raises(FolderError, match=f"{address}: cannot be used .*every machine"):
            RemoteFolder(address).prepare()
    machine("here").prepare()
    assert Remote(bucket).objects() == {}


def test_a_store_without_exclusive_creation_is_refused(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Remote, "create", lambda self, name, content: True)
    with pytest.raises(RemoteError, match="lets two writers create one object"):
        Remote(bucket).prove()


def test_objects_that_would_leave_the_folder_are_left_alone(machine: Machine, bucket: str) -> None:
    here = machine("here")
    for name in ("trials/../../../escaped", "trials/a/../../../../escaped", "trials//escaped", "trials/a/kept"):
        Remote(bucket)._at[0].pipe_file(f"{bucket.removeprefix('s3://')}/tiny/{name}", b"x")
    here.pull()
    assert (here.trial("a") / "kept").read_bytes() == b"x"
    assert not list(here.path.parents[3].rglob("escaped"))


def test_who_holds_a_lock_that_is_no_json(machine: Machine) -> None:
    here = machine("here")
    here.remote.put("driver.lock", b"\xff[")
    assert here.driver() == "unknown"
    assert remote_folder._dead(b"[]") is False
