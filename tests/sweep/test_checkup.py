"""What `jackpot cluster check` finds wrong with machines, and what one says of itself."""

import socket
import time

import pytest

from orchestrator.engine.folder import SweepFolder
from orchestrator.sweep import machine
from orchestrator.sweep.checkup import NODE_SECONDS, SKEW_SECONDS, _ask, _tracking, problems, unlike_here
from orchestrator.sweep.machine import SOURCE, listing, look_around, see_others, source_digest, sweep_up

OUT = "/nfs/sweeps/small"


def rows(**changes):
    """Three machines that are well, the first the head, with changes of the second."""
    alike = {"Ray": "2.60.0", "torch": "2.15.0", "Python": "3.12.3", SOURCE: "0123456789ab"}
    each = {"head": False, "gpus": 1, "storage": "", "marks": 3, "locked_out": True, "skew": 0.1, "token": True,
            "driver_gpus": 1, "data": {"files": 5, "digest": "ab"}, "alike": alike}  # fmt: skip
    head = {"address": "10.0.0.1", "head": True, "gpus": 0, "driver_gpus": None}
    return [each | head, each | {"address": "10.0.0.2"} | changes, each | {"address": "10.0.0.3"}]


def test_nothing_is_wrong_with_machines_that_are_well():
    assert problems(rows(), OUT) == []
    assert problems(rows(data=None, skew=SKEW_SECONDS, driver_gpus=None), OUT) == []
    assert problems([], OUT) == []


@pytest.mark.parametrize(
    ("changes", "words", "remedy"),
    [
        ({"error": "ModuleNotFoundError: x"}, "does not answer (ModuleNotFoundError", "is Jackpot installed there?"),
        ({"storage": "/nfs: Read-only file system"}, "storage: /nfs: Read-only file system", ""),
        ({"marks": 1}, f"sees what 1 of 3 machines write to {OUT}", "under the same path, or use s3://"),
        ({"locked_out": False}, f"locks in {OUT} do not reach", "(NFS 4, no `nolock`), or use s3://"),
        ({"skew": 3600.4}, "its clock differs by 3600 s", "turn on NTP"),
        ({"token": False}, "Ray was started without RAY_AUTH_MODE=token", "it takes orders from anyone"),
        ({"driver_gpus": 0}, "Ray offers 1 GPUs, and the driver sees 0", "the right --num-gpus"),
        ({"data": {"error": "/d: No such file or directory", "files": 0}}, "data: /d: No such", "to the same path"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)  # fmt: skip
def test_what_is_wrong_with_a_machine_is_said_with_its_remedy(changes, words, remedy):
    (said,) = problems(rows(**changes), OUT)
    assert said.startswith(f"10.0.0.2: {words}")
    assert said.endswith(remedy)


def test_a_folder_that_cannot_be_written_is_not_looked_at_further():
    there = [{name: value for name, value in row.items() if name not in ("marks", "locked_out")} for row in rows()]
    there[2]["storage"] = "/nfs: Permission denied"
    assert problems(there, OUT) == ["10.0.0.3: storage: /nfs: Permission denied"]


def test_all_that_is_wrong_is_said_at_once():
    assert len(problems(rows(skew=10, token=False, marks=2, data={"error": "none", "files": 0}), OUT)) == 4


def test_a_tracking_server_that_is_down_is_said_beside_all_else(make_spec, sweep_folder):
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = f"http://127.0.0.1:{server.getsockname()[1]}"
    (said,) = _tracking(make_spec(tracking={"uri": closed}), sweep_folder)
    assert said.startswith("tracking: ")
    assert closed in said
    assert said.endswith("results are safe without it, and `jackpot sync` catches up")


@pytest.mark.parametrize("what", ["Ray", "torch", "Python", SOURCE])
def test_machines_that_differ_are_told_apart(what):
    other = rows()[1]["alike"] | {what: "other"}
    (said,) = problems(rows(alike=other), OUT)
    usual = rows()[0]["alike"][what]
    assert said == f"{what} differs ({usual} on 10.0.0.1, 10.0.0.3; other on 10.0.0.2); set the machines up alike"


def test_a_cluster_with_another_jackpot_than_this_machine_is_said():
    own = rows()[0]["alike"] | {SOURCE: source_digest()[:12]}
    assert unlike_here([row | {"alike": own} for row in rows()]) == []
    (said,) = unlike_here([*rows(), {"address": "10.0.0.4", "error": "gone"}])
    assert said.startswith(f"{SOURCE} is {source_digest()[:12]} here and 0123456789ab on the cluster; bring this one")


# A machine itself


def test_a_machine_says_what_it_has_and_writes_to_the_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    out, data = tmp_path / "sweep", tmp_path / "data"
    data.mkdir()
    (data / "images").write_text("three")
    found = [look_around(str(out), str(data), "nonce") for _ in range(2)]
    assert [each["storage"] for each in found] == ["", ""]
    assert found[0]["token"]
    assert found[0]["alike"][SOURCE] == source_digest()[:12]
    assert found[0]["alike"]["the data"].startswith("1 files, ")
    assert see_others(str(out), "nonce")["marks"] == 2
    assert see_others(str(out), "other")["marks"] == 0
    sweep_up(SweepFolder(out), "nonce")
    assert list(out.glob(".check-*")) == []


def test_a_claim_of_the_heads_keeps_others_out(tmp_path):
    folder = SweepFolder(tmp_path / "sweep")
    folder.prepare()
    assert not see_others(str(folder.path), "nonce")["locked_out"]
    with folder.store.claim("check-nonce") as held:
        assert held
        assert see_others(str(folder.path), "nonce")["locked_out"]


def test_the_same_in_an_object_store(bucket):
    from orchestrator.engine.finding import folder_at

    out = f"{bucket}/sweeps/small"
    assert [look_around(out, None, "nonce")["storage"] for _ in range(2)] == ["", ""]
    folder = folder_at(out)
    with folder.store.claim("check-nonce"):
        seen = see_others(out, "nonce")
    assert (seen["marks"], seen["locked_out"]) == (2, True)
    sweep_up(folder, "nonce")
    assert see_others(out, "nonce")["marks"] == 0


def test_a_folder_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    (tmp_path / "file").touch()
    found = look_around(str(tmp_path / "file" / "sweep"), str(tmp_path / "none"), "nonce")
    assert f"{tmp_path}/file" in found["storage"]
    assert found["data"]["error"] == f"{tmp_path}/none: No such file or directory"
    assert not found["token"]


def test_data_are_told_apart_by_names_and_sizes(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "1.png").write_text("one")
    first = listing(str(tmp_path))
    (tmp_path / "a" / "1.png").write_text("other")
    second = listing(str(tmp_path))
    (tmp_path / "a" / "2.png").touch()
    third = listing(str(tmp_path))
    assert [each["files"] for each in (first, second, third)] == [1, 1, 2]
    assert len({each["digest"] for each in (first, second, third)}) == 3
    monkeypatch.setattr(machine, "_MANY", 1)
    assert listing(str(tmp_path))["files"] == 1


def test_gpus_that_the_driver_does_not_see(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert machine._gpus() is None
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 'GPU 0: H100 (UUID: x)'\necho 'GPU 1: H100 (UUID: y)'\necho 'No more'\n")
    program.chmod(0o755)
    assert machine._gpus() == 2


# Asking all machines


@pytest.fixture
def slow_ray(monkeypatch):
    """A Ray on which each task is a function that gives its answer, raises, or is None and never ends."""
    import ray

    monkeypatch.setattr(ray, "wait", lambda tasks, timeout: _first(tasks))
    monkeypatch.setattr(ray, "get", lambda task: task())
    monkeypatch.setattr(ray, "remote", lambda **options: lambda function: _Task(function, options))


class _Task:
    def __init__(self, function, options):
        self.function, self.node = function, options["scheduling_strategy"].node_id

    def remote(self, *arguments):
        return self.function(self.node, *arguments)


def _first(tasks):
    ready = [task for task in tasks if task.ends][:1]
    return ready, [task for task in tasks if task not in ready]


class Answer:
    def __init__(self, ends=True, error=None, **found):
        self.ends, self.error, self.found = ends, error, found

    def __call__(self):
        if self.error:
            raise self.error
        return self.found


def test_each_machines_answer_is_its_own(slow_ray):
    now = time.time()
    answers = {
        "aa": Answer(time=now, n=1), "bb": Answer(error=RuntimeError("first\nlast")), "cc": Answer(ends=False),
        "dd": Answer(time=now - 60, n=4), "ee": Answer(time=now + 3600, n=5),
    }  # fmt: skip
    nodes = [{"NodeID": name * 28} for name in answers]
    found = _ask(nodes, lambda node, what: answers[node[:2]], "look")
    assert found[1:3] == [{"error": "RuntimeError: last"}, {"error": f"not within {NODE_SECONDS:g} s"}]
    assert [each["n"] for each in (found[0], *found[3:])] == [1, 4, 5]
    assert found[0]["skew"] < 1
    assert found[3]["skew"] == pytest.approx(60, abs=1)
    assert found[4]["skew"] == pytest.approx(3600, abs=1)
