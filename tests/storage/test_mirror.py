"""The copy of a sweep on a machine, with another process, or a power cut, between any two steps."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.engine.files import write_text
from orchestrator.engine.remote import Remote
from orchestrator.engine.remote_folder import RemoteFolder

Machine = Callable[[str], RemoteFolder]
pytestmark = pytest.mark.slow


def test_what_is_pushed_while_a_pull_lists_the_store_stays(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker and the driver of one machine: a log that is open must not be taken for one removed in the store."""
    here = machine("here")
    here.tell("a", {"begin": "k"})
    here.push("a")
    objects = Remote.objects

    def listed(remote: Remote, folder: str = "", deep: bool = True) -> dict:
        found = objects(remote, folder, deep)
        if folder == "trials":  # the worker comes between the driver's list and its lock
            here.push("a")
        return found

    monkeypatch.setattr(Remote, "objects", listed)
    with open(here.growing("a", "log.txt"), "a") as log:
        print("first", file=log, flush=True)
        write_text(here.trial("a") / "result.json", "{}")
        here.pull()
        print("second", file=log, flush=True)
        write_text(here.trial("a") / "result.json", '{"new": 1}')  # not pushed yet, when an older one is listed
        here.pull()
        print("third", file=log, flush=True)
        here.push("a")
    assert (here.trial("a") / "result.json").read_text() == '{"new": 1}'
    laptop = machine("laptop")
    laptop.pull("a")
    assert (laptop.trial("a") / "log.txt").read_text() == "first\nsecond\nthird\n"
    assert (laptop.trial("a") / "result.json").read_text() == '{"new": 1}'


def test_whoever_sees_a_result_sees_its_ticket_and_its_log(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = machine("here"), machine("there")
    names = ("result.json", "ticket.safetensors", "log.txt")

    def run(version: str) -> None:
        here.trial("a").mkdir(parents=True, exist_ok=True)
        with open(here.growing("a", "log.txt"), "a") as log:
            print(version, file=log)
        for name in ("zoo.txt", "ticket.safetensors", "result.json"):
            write_text(here.trial("a") / name, version)
        here.push("a")

    def seen() -> list[str]:
        paths = [there.trial("a") / name for name in names]
        return [path.read_text() if path.exists() else "" for path in paths]

    states, fetch = [], Remote.fetch
    monkeypatch.setattr(
        Remote, "fetch", lambda remote, name, path: (states.append(seen()), fetch(remote, name, path))[1]
    )
    for version in ("1", "2"):
        run(version)
        there.pull("a")
        states.append(seen())
    assert all(ticket >= result and result in log for result, ticket, log in states)
    assert states[-1] == ["2", "2", "1\n2\n"]


def test_a_result_written_during_a_push_waits_for_the_next(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = machine("here"), machine("there")
    write_text(here.trial("a") / "result.json", "first")
    write_text(here.trial("a") / "any.txt", "first")
    here.push("a")
    write_text(here.trial("a") / "any.txt", "changed")
    put, ends = Remote.put, iter(["second"])

    def trial_ends(remote: Remote, name: str, content: bytes | Path) -> None:
        for version in ends:  # its ticket is in no list of the push that has begun
            write_text(here.trial("a") / "ticket.safetensors", version)
            write_text(here.trial("a") / "result.json", version)
        put(remote, name, content)

    monkeypatch.setattr(Remote, "put", trial_ends)
    here.push("a")
    there.pull("a")
    assert (there.trial("a") / "result.json").read_text() == "first"
    assert not (there.trial("a") / "ticket.safetensors").exists()
    here.push("a")
    there.pull("a")
    assert (there.trial("a") / "result.json").read_text() == "second"
    assert (there.trial("a") / "ticket.safetensors").read_text() == "second"


def test_what_was_removed_here_does_not_come_back_before_it_is_pushed(machine: Machine) -> None:
    here, there = machine("here"), machine("there")
    for name in ("ticket.safetensors", "result.json"):
        write_text(here.trial("a") / name, "first")
    here.push("a")
    there.pull("a")
    (here.trial("a") / "ticket.safetensors").unlink()
    write_text(here.trial("a") / "result.json", "failed")
    here.pull("a")  # the driver, which looks what its trials do
    assert not (here.trial("a") / "ticket.safetensors").exists()
    here.push("a")
    there.pull("a")
    assert not (there.trial("a") / "ticket.safetensors").exists()
    write_text(here.trial("a") / "ticket.safetensors", "first")  # the very same again
    here.push("a")
    there.pull("a")
    assert (there.trial("a") / "ticket.safetensors").read_text() == "first"


def test_lines_that_a_power_cut_takes_are_brought_from_the_store(machine: Machine) -> None:
    here, there = machine("here"), machine("there")
    for step in range(3):
        here.tell("a", {"steps": step})
    here.push("a")
    here.pull("a")
    for name in (here.mirror.part("events.jsonl"), "events.jsonl"):
        path = here.trial("a") / name
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    time.sleep(1.1)  # the store counts in seconds when a part was written, and no machine starts in one
    here.mirror.machine = "started-anew"
    here.push("a")
    here.tell("a", {"steps": 3})
    here.push("a")
    for folder in (here, there):
        folder.pull("a")
        assert [event["steps"] for event in folder.events("a")] == [0, 1, 2, 3]
