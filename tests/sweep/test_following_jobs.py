"""A job of a cluster is sent once, and followed however often the connection breaks. Ray's client is played."""

import os
from types import SimpleNamespace

import pytest
import requests

from orchestrator.sweep import jobs
from orchestrator.sweep.jobs import follow, send
from orchestrator.sweep.session import ClusterError

ADDRESS = "http://127.0.0.1:8265"
LOG = "starting\n[1/2] dense: done\n[2/2] random: done\nresults: /nfs/small\n"


class Cluster:
    """A cluster's jobs. The log of `job` comes in small parts; each of the `cuts` is a connection that breaks after so
    many characters, or is refused where it is None."""

    def __init__(self, cuts=(), status="SUCCEEDED", code=0, known=(), before=""):
        self.cuts, self.ends, self.code = list(cuts), status, code
        self.status = "RUNNING"
        self.known = dict(known)
        self.sent, self.deleted, self.asked = [], [], 0
        self.log, self.metadata = before + LOG, {"log_begins": str(len(before))}

    def list_jobs(self):
        return [SimpleNamespace(submission_id=name, status=status) for name, status in self.known.items()]

    def delete_job(self, name):
        self.deleted.append(name)

    def submit_job(self, **what):
        self.sent.append({**what, "RAY_ADDRESS": os.environ.get("RAY_ADDRESS")})

    def get_job_status(self, name):
        self.asked += 1
        if self.cuts and self.cuts[0] is None:
            self.cuts.pop(0)
            raise ConnectionError("Failed to connect to Ray")
        return self.status

    async def tail_job_logs(self, name):
        cut = self.cuts.pop(0) if self.cuts else None
        log, step = (self.log[:cut], 4 + len(self.cuts)) if cut is not None else (self.log[:-9], 7)
        for start in range(0, len(log), step):
            yield log[start : start + step]
        if cut is not None:
            raise RuntimeError("WebSocket connection closed unexpectedly with close code 1006")
        self.status = self.ends

    def get_job_logs(self, name):
        return self.log

    def get_job_info(self, name):
        return SimpleNamespace(
            status=self.status, driver_exit_code=self.code, message="why it ended", metadata=self.metadata
        )


@pytest.fixture
def plays(monkeypatch):
    """Has Ray's client speak with a Cluster."""
    import ray.job_submission

    def play(cluster):
        monkeypatch.setattr(ray.job_submission, "JobSubmissionClient", lambda address: cluster)
        monkeypatch.setattr(jobs, "RECONNECT_SECONDS", 0.0)
        return cluster

    return play


def test_a_job_is_sent_once(plays, monkeypatch, tmp_path):
    monkeypatch.setenv("RAY_ADDRESS", "elsewhere:6379")  # Ray would take it instead of the address
    cluster = plays(Cluster())
    assert send(ADDRESS, "jackpot-small-1", ["jackpot", "run", "--out", "/nfs/a b"], tmp_path)
    (job,) = cluster.sent
    assert (job["submission_id"], job["entrypoint"]) == ("jackpot-small-1", "jackpot run --out '/nfs/a b'")
    assert job["runtime_env"]["working_dir"] == str(tmp_path)
    assert job["RAY_ADDRESS"] is None
    assert os.environ["RAY_ADDRESS"] == "elsewhere:6379"


@pytest.mark.parametrize("status", ["PENDING", "RUNNING"])
def test_a_job_that_runs_is_left_alone(plays, tmp_path, status):
    cluster = plays(Cluster(known={"mine": status, "other": "FAILED"}))
    assert not send(ADDRESS, "mine", ["jackpot"], tmp_path)
    assert (cluster.sent, cluster.deleted) == ([], [])


@pytest.mark.parametrize("status", jobs.ENDED)
def test_a_job_that_has_ended_is_begun_anew(plays, tmp_path, status):
    cluster = plays(Cluster(known={"mine": status}))
    assert send(ADDRESS, "mine", ["jackpot"], tmp_path)
    assert cluster.deleted == ["mine"]
    (job,) = cluster.sent
    assert job["metadata"] == {"log_begins": str(len(LOG))}  # where the log goes on


def test_a_job_that_ended_without_a_log_is_begun_anew(plays, tmp_path):
    class Without(Cluster):
        def get_job_logs(self, name):
            raise RuntimeError("Request failed with status code 500: no log")

    cluster = plays(Without(known={"mine": "FAILED"}))
    assert send(ADDRESS, "mine", ["jackpot"], tmp_path)
    assert cluster.sent[0]["metadata"] == {"log_begins": "0"}


def test_what_ray_says_is_passed_on_in_a_line(plays, tmp_path):
    class Refuses(Cluster):
        def submit_job(self, **what):
            raise RuntimeError("Request failed with status code 500: Traceback ...\nValueError: no such package")

    plays(Refuses())
    with pytest.raises(ClusterError, match=f"^--address {ADDRESS}: ValueError: no such package$"):
        send(ADDRESS, "mine", ["jackpot"], tmp_path)


def test_a_connection_that_breaks_while_a_job_is_sent_is_said(plays, tmp_path):
    class Breaks(Cluster):
        def submit_job(self, **what):
            raise requests.exceptions.ConnectionError("Connection aborted.")

    plays(Breaks())
    with pytest.raises(ClusterError, match=f"^--address {ADDRESS}: Connection aborted.$"):
        send(ADDRESS, "mine", ["jackpot"], tmp_path)


# Following


@pytest.mark.parametrize("cuts", [[], [5], [0], [30, 12, 31], [5, None, None, 40, None]])
def test_a_connection_that_breaks_is_taken_up_again_and_nothing_is_said_twice(plays, cuts):
    cluster, said = plays(Cluster(cuts)), []
    assert follow(ADDRESS, "mine", said.append) == 0
    told = [text for text in said if text.startswith("the connection broke, mine goes on; asking again")]
    assert "".join(text for text in said if text not in told) == LOG
    # once for each time that it broke, however often it was refused then
    assert len(told) == sum(cut is not None for cut in cuts)
    assert cluster.cuts == []


@pytest.mark.parametrize("cuts", [[], [3, 20]])
def test_what_the_job_said_when_it_ran_before_is_not_said_again(plays, cuts):
    said = []
    plays(Cluster(cuts, before="stopped: jackpot stop\n"))
    assert follow(ADDRESS, "mine", said.append) == 0
    assert "".join(text for text in said if not text.startswith("the connection broke")) == LOG


@pytest.mark.parametrize(
    ("status", "code", "expected", "message"),
    [("SUCCEEDED", 0, 0, False), ("FAILED", 1, 1, False), ("FAILED", 127, 127, False), ("FAILED", -9, 137, False),
     ("SUCCEEDED", None, 0, False), ("FAILED", None, 1, True), ("STOPPED", None, 1, True)],
)  # fmt: skip
def test_the_exit_code_is_the_jobs(plays, status, code, expected, message):
    said = []
    plays(Cluster(status=status, code=code))
    assert follow(ADDRESS, "mine", said.append) == expected
    assert "".join(said) == LOG + ("why it ended\n" if message else "")


def test_a_cluster_that_never_answers_again_is_given_up(plays):
    cluster, said = plays(Cluster([5] + [None] * 99)), []
    with pytest.raises(ClusterError) as error:
        follow(ADDRESS, "mine", said.append)
    assert str(error.value).startswith(f"--address {ADDRESS}: the cluster answers no more (")
    assert str(error.value).endswith("mine may go on there: submit again to follow it")
    assert cluster.asked == jobs.RECONNECTS + 1  # the first was answered
    assert "".join(said).count("the connection broke") == 1


def test_a_job_that_a_new_head_does_not_know_is_said_at_once(plays):
    class Anew(Cluster):
        def get_job_info(self, name):
            raise RuntimeError(f"Request failed with status code 404: Job {name} does not exist")

    plays(Anew())
    with pytest.raises(ClusterError, match=r"^mine: the cluster knows this job no more, .*; submit again to go on$"):
        follow(ADDRESS, "mine", print)


def test_ctrl_c_ends_the_following(plays):
    class Interrupted(Cluster):
        async def tail_job_logs(self, name):
            yield "starting\n"
            raise KeyboardInterrupt

    plays(Interrupted())
    with pytest.raises(KeyboardInterrupt):
        follow(ADDRESS, "mine", print)
