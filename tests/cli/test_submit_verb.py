"""`jackpot submit` and `jackpot cluster check`: what they refuse, and what they say of what the cluster says."""

import json

import pytest
from command import SPEC, jackpot

from orchestrator.sweep import checkup, jobs
from orchestrator.sweep.machine import SOURCE, source_digest
from orchestrator.sweep.session import ClusterError

ADDRESS = ("--address", "http://127.0.0.1:8265")
OUT = ("--out", "/nfs/sweeps/small")
NET = """
from pathlib import Path
from torch import nn

Path("ran").touch()


def net(num_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))
"""


@pytest.fixture
def small(tmp_path, monkeypatch):
    """The path of a spec, which changes are written into."""
    monkeypatch.chdir(tmp_path)

    def write(**changes):
        (tmp_path / "small.yaml").write_text(json.dumps(SPEC | changes))
        return "small.yaml"

    return write


@pytest.fixture
def cluster(monkeypatch):
    """A cluster that takes every job, says `says` and ends it with `code`; what it was sent."""

    class Cluster:
        says, code, new, sent = "[3/3] done\n", 0, True, ()

        def send(self, address, name, entrypoint, folder):
            files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
            self.sent = (name, list(entrypoint), files)
            return self.new

        def follow(self, address, name, say):
            if isinstance(self.says, BaseException):
                raise self.says
            say(self.says)
            return self.code

    played = Cluster()
    monkeypatch.setattr(jobs, "check_address", lambda address, without_token=False: None)
    monkeypatch.setattr(jobs, "send", played.send)
    monkeypatch.setattr(jobs, "follow", played.follow)
    return played


# What is refused here


@pytest.mark.parametrize("where", [(), ("--out", "sweeps/small"), ("--set", "storage=sweeps")])
@pytest.mark.parametrize("verb", [("submit",), ("cluster", "check")])
def test_a_folder_of_this_machine_is_refused(small, cluster, verb, where):
    if verb == ("cluster", "check") and "--set" in where:
        said = jackpot(*verb, small(storage="sweeps"), *ADDRESS)
    else:
        said = jackpot(*verb, small(), *ADDRESS, *where)
    assert said.exit_code == 2
    assert "the cluster's machines do not see this machine's folder; name s3://BUCKET/FOLDER, or the" in said.stderr
    assert cluster.sent == ()


def test_data_below_this_folder_are_refused(small, cluster):
    for root in ("data", "data/none"):
        said = jackpot("submit", small(data={"name": "cifar10", "root": root, "download": False}), *ADDRESS, *OUT)
        assert (said.exit_code, cluster.sent) == (2, ())
        assert said.stderr == (
            f"data.root: {root}: is a folder of this machine; name an absolute path that is the same on every machine "
            "of the cluster, or s3://BUCKET/FOLDER, which each of them copies once\n"
        )


def test_data_that_lie_on_the_cluster_alone_are_looked_at_there(small, cluster):
    data = {"name": "cifar10", "root": "/nowhere/cifar10", "download": False}
    assert jackpot("run", small(data=data), "--dry-run").exit_code == 2
    said = jackpot("submit", small(data=data), *ADDRESS, *OUT)
    assert (said.exit_code, cluster.sent[2]) == (0, {jobs.SPEC})
    assert said.stderr.startswith("/nowhere/cifar10: not on this machine; data, networks and methods are looked at")
    data["root"] = "s3://bucket/cifar10"
    assert jackpot("submit", small(data=data), *ADDRESS, *OUT).exit_code == 0
    said = jackpot("submit", small(data=data, seed=3), *ADDRESS, *OUT)
    assert said.exit_code == 2
    assert "seed: unknown key; did you mean 'seeds'?" in said.stderr
    assert said.stderr.endswith("small.yaml: nothing was sent\n")


def test_code_is_sent_when_that_is_allowed_alone(small, cluster, tmp_path):
    (tmp_path / "mynets.py").write_text(NET)
    spec = small(model="mynets:net", methods=["dense"], sparsities=[])
    said = jackpot("submit", spec, *ADDRESS, *OUT)
    assert (said.exit_code, cluster.sent) == (2, ())
    assert said.stderr.splitlines() == [
        "model[0].name: mynets:net",
        "a spec that names code runs it on the cluster; look at it, then add --allow-code, which sends the source in "
        "this folder along",
    ]
    assert not (tmp_path / "ran").exists()
    said = jackpot("submit", spec, *ADDRESS, *OUT, "--allow-code")
    assert said.exit_code == 0, said.stderr
    assert cluster.sent[2] == {jobs.SPEC, "small.yaml", "mynets.py", "ran"}


def test_what_is_wrong_with_a_spec_is_said_before_the_cluster_is_asked(small, monkeypatch):
    monkeypatch.setattr(jobs, "check_address", lambda *_: pytest.fail("asked"))
    said = jackpot("submit", small(methods=["hybird"]), *ADDRESS, *OUT)
    assert said.exit_code == 2
    assert "unknown method 'hybird'" in said.stderr


@pytest.mark.parametrize("verb", [("submit", "small.yaml"), ("cluster", "check")])
def test_a_cluster_that_cannot_be_used_is_said_in_a_line(small, monkeypatch, verb):
    def refuse(address, without_token):
        raise ClusterError(f"--address {address}: the cluster refuses")

    small()
    monkeypatch.setattr(jobs, "check_address", refuse)
    said = jackpot(*verb, *ADDRESS, *OUT)
    assert (said.exit_code, said.stderr) == (2, "--address http://127.0.0.1:8265: the cluster refuses\n")


# What is sent, and what is said of it


def test_a_sweep_is_sent_and_followed(small, cluster):
    said = jackpot("submit", small(), *ADDRESS, *OUT, "--only", "random", "--max-hours", "2", "--take-over")
    name, entrypoint, files = cluster.sent
    assert said.exit_code == 0
    assert said.stdout == f"{name}: sent; jackpot status /nfs/sweeps/small\n[3/3] done\n"
    assert entrypoint == [
        "jackpot", "run", jobs.SPEC, "--address", "auto", "--out", "/nfs/sweeps/small",
        "--only", "random", "--max-hours", "2.0", "--take-over",
    ]  # fmt: skip
    assert files == {jobs.SPEC}


def test_submitting_twice_is_one_job(small, cluster):
    jackpot("submit", small(), *ADDRESS, "--out", "s3://bucket/small", "--detach")
    (name, _, _), cluster.new = cluster.sent, False
    said = jackpot("submit", small(), *ADDRESS, "--out", "s3://bucket/small", "--detach")
    assert cluster.sent[0] == name
    assert said.stdout == f"{name}: is running already; jackpot status s3://bucket/small\n"


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (1, ""),
        (2, "refused on the cluster, not here: `jackpot cluster check` says whether Jackpot and the data are alike"),
        (
            127,
            "the cluster's head finds no `jackpot`; install it on all machines, on the PATH that Ray is started with",
        ),
        (130, "submit again to go on\n"),
        (137, "the driver was killed; submit again to go on\n"),
    ],
)
def test_a_sweeps_exit_code_is_passed_on_with_what_to_do(small, cluster, code, words):
    cluster.code = code
    said = jackpot("submit", small(), *ADDRESS, *OUT)
    assert said.exit_code == code
    assert said.stderr.startswith(f"{cluster.sent[0]}: {words}" if words else "")
    assert bool(said.stderr) == bool(words)


def test_ctrl_c_leaves_the_sweep_running_and_says_how_to_get_back(small, cluster):
    cluster.says = KeyboardInterrupt()
    said = jackpot("submit", small(), *ADDRESS, *OUT)
    where = "/nfs/sweeps/small"
    assert said.exit_code == 130
    assert said.stdout.endswith(
        f"{cluster.sent[0]} goes on; jackpot status {where}, jackpot stop {where}, or submit again to follow it\n"
    )


def test_a_cluster_that_is_lost_while_following_is_said(small, cluster):
    cluster.says = ClusterError("the cluster answers no more")
    said = jackpot("submit", small(), *ADDRESS, *OUT)
    assert (said.exit_code, said.stderr) == (2, "the cluster answers no more\n")


# The check


def report(*problems, source=None):
    row = {"address": "10.0.0.1", "host": "head", "head": True, "cpus": 0, "gpus": 0, "device": "cpu", "storage": "",
           "data": None, "skew": 0.04, "alike": {"Ray": "2.60.0", "torch": "2.15.0", SOURCE: source or
           source_digest()[:12]}}  # fmt: skip
    worker = {**row, "address": "10.0.0.2", "host": "red", "head": False, "cpus": 8, "gpus": 2, "device": "H100"}
    gone = {**worker, "address": "10.0.0.3", "error": "dead"}
    found = {"nodes": [row, worker, gone], "slots": 2, "problems": list(problems)}
    return f"2026-11-27 INFO job_manager.py\n{checkup.__name__}\njackpot-cluster-check: {json.dumps(found)}\n"


def test_the_check_shows_every_machine(small, cluster, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    cluster.says = report()
    said = jackpot("cluster", "check", small(), *ADDRESS, *OUT)
    assert said.exit_code == 0
    lines = [" ".join(line.replace("│", " ").split()) for line in said.stdout.splitlines() if "10.0.0." in line]
    assert lines == [
        "head (10.0.0.1) head 0 0 cpu 2.60.0 2.15.0 written 0.0 s",
        "red (10.0.0.2) 8 2 H100 2.60.0 2.15.0 written 0.0 s",
        "10.0.0.3 8 2 H100 no answer",
    ]
    assert said.stdout.endswith("trials of the spec that fit at once on what is up now: 2\nall well\n")
    assert cluster.sent[1:] == (["jackpot", "cluster", "examine", "/nfs/sweeps/small", jobs.SPEC], {jobs.SPEC})


def test_problems_are_said_and_counted_as_failure(small, cluster):
    cluster.says = report("10.0.0.2: its clock differs", source="0123456789ab")
    said = jackpot("cluster", "check", small(), *ADDRESS, *OUT)
    assert said.exit_code == 1
    first, second = [line for line in said.stdout.splitlines() if line.startswith("problem: ")]
    assert first == "problem: 10.0.0.2: its clock differs"
    assert second.startswith(f"problem: {SOURCE} is {source_digest()[:12]} here and 0123456789ab on the cluster")
    said = jackpot("cluster", "check", *ADDRESS, *OUT, "--json")
    assert (said.exit_code, len(json.loads(said.stdout)["problems"])) == (1, 2)


def test_a_check_without_a_folder_says_what_to_name(cluster):
    said = jackpot("cluster", "check", *ADDRESS)
    assert said.exit_code == 2
    assert said.stderr.startswith("--out: name the folder that the sweep will have, s3://BUCKET/FOLDER or a path that")


@pytest.mark.parametrize(
    ("code", "says", "words"),
    [
        (127, "/bin/sh: 1: jackpot: not found", "the cluster's head finds no `jackpot`; install it on all machines"),
        (2, "No such command 'cluster'.", "the check did not come to its end there; it must have this Jackpot"),
    ],
)
def test_a_head_without_this_jackpot_is_said(cluster, code, says, words):
    cluster.code, cluster.says = code, says
    said = jackpot("cluster", "check", *ADDRESS, *OUT)
    assert said.exit_code == 2
    assert said.stderr.startswith(f"{says}\n--address http://127.0.0.1:8265: {words}")
