"""Sweeps as jobs of a cluster: what is sent, whom it is sent to, and how a job is followed. Ray's client is played."""

import os
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest

from orchestrator.spec.loading import load
from orchestrator.sweep import jobs
from orchestrator.sweep.jobs import check_address, follow, job_id, send, staged
from orchestrator.sweep.session import ClusterError

ADDRESS, TOKEN = "http://127.0.0.1:8265", "a" * 64
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


# What a job is


def test_the_same_spec_and_folder_are_the_same_job(make_spec):
    name = job_id(make_spec(), "s3://bucket/small")
    assert re.fullmatch("jackpot-small-[0-9a-f]{12}", name)
    assert job_id(make_spec(), "s3://bucket/small") == name
    others = [job_id(make_spec(seeds=[1]), "s3://bucket/small"), job_id(make_spec(), "s3://bucket/other")]
    assert len({name, *others}) == 3


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A working copy: a spec's weights, source, and what is never sent."""
    for name in ("w.safetensors", "nets.py", "sub/more.py", "data/images", "sweeps/old/result.json", ".git/config",
                 ".env", "sub/__pycache__/more.pyc", "results/table.csv"):  # fmt: skip
        path = tmp_path / "here" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    (tmp_path / "outside.py").write_text("secret")
    (tmp_path / "here" / "link.py").symlink_to(tmp_path / "outside.py")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


def sent(spec, code=False):
    with staged(spec, code) as stage:
        return {path.relative_to(stage).as_posix(): path.read_text() for path in stage.rglob("*") if path.is_file()}


def test_a_job_brings_the_spec_and_the_files_it_names(here, make_spec):
    spec = make_spec(model={"name": "convnet", "width": 0.25, "weights": "w.safetensors"})
    files = sent(spec)
    assert files.keys() == {"spec.yaml", "w.safetensors"}
    (here / "spec.yaml").write_text(files["spec.yaml"])
    assert load(here / "spec.yaml").require() == spec


@pytest.mark.parametrize("weights", ["../outside.py", "{here}/w.safetensors", "IMAGENET1K_V1", "x" * 5000, "link.py"])
def test_no_file_outside_the_folder_goes_along(here, make_spec, weights):
    weights = weights.format(here=here)
    assert sent(make_spec(model={"name": "convnet", "weights": weights})).keys() == {"spec.yaml"}


def test_with_code_the_source_goes_along_and_nothing_else(here, make_spec):
    assert sent(make_spec(), code=True).keys() == {"spec.yaml", "w.safetensors", "nets.py", "sub/more.py"}


def test_too_much_is_refused_with_the_largest_named(here, make_spec, monkeypatch):
    monkeypatch.setattr(jobs, "MAX_BYTES", 2 * 2**20)
    with open("sub/large.bin", "wb") as file:
        file.truncate(3 * 2**20)
    words = re.escape(f"{here}: 3 MiB would be sent, the largest sub/large.bin; a job brings at most 2 MiB: put data")
    with pytest.raises(ClusterError, match=words), staged(make_spec(), code=True):
        pass
    assert "spec.yaml" in sent(make_spec())


def test_a_check_without_a_spec_brings_nothing(here):
    assert sent(None) == {}


# Whom it is sent to


@pytest.fixture
def dashboard(monkeypatch, tmp_path):
    """Starts a dashboard that asks for this token, or for none, and gives its address."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.setenv(name, "")  # so that it is put back
        monkeypatch.delenv(name)
    servers = []

    def start(token="", says="[]"):
        class Answer(BaseHTTPRequestHandler):
            def do_GET(self):
                shown = self.headers.get("Authorization", "").removeprefix("Bearer ")
                self.send_response(200 if shown == token or not token else 403 if shown else 401)
                self.end_headers()
                self.wfile.write(says.encode())

            def log_message(self, *_):
                pass

        servers.append(HTTPServer(("127.0.0.1", 0), Answer))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def refusal(address, **options):
    with pytest.raises(ClusterError) as error:
        check_address(address, **options)
    return str(error.value).removeprefix(f"--address {address}: ")


@pytest.mark.parametrize("address", ["127.0.0.1:8265", "ray://127.0.0.1:10001", "auto", ""])
def test_what_is_no_url_is_refused(address):
    assert refusal(address) == "expected the URL of a cluster's dashboard, http://HOST:8265"


def test_an_address_where_no_dashboard_answers_is_refused(dashboard):
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = f"http://127.0.0.1:{server.getsockname()[1]}"
    remedy = "is the cluster up, and its dashboard forwarded (`ray dashboard cluster.yaml`)?"
    for address in (closed, "http://no-such-host.invalid:8265", dashboard(says="<html>")):
        said = refusal(address)
        assert said.startswith("no Ray dashboard answers there (")
        assert said.endswith(remedy)
    assert refusal(dashboard(says="{}")) == f"what answers there is no Ray dashboard; {remedy}"


def test_a_cluster_without_a_token_is_refused_unless_that_is_meant(dashboard):
    address = dashboard()
    assert refusal(address).startswith("this cluster obeys whoever reaches it, for it asks for no token; start it with")
    check_address(address, without_token=True)


def test_the_token_is_shown_and_a_wrong_one_is_said(dashboard, monkeypatch, tmp_path):
    address = dashboard(TOKEN)
    for without_token in (False, True):
        said = refusal(address, without_token=without_token)
        assert said.startswith("the cluster refuses the token of this machine (none yet")
        assert said.endswith(f"says the right one on its head: write it into {tmp_path}/.ray/auth_token")
    monkeypatch.setenv("RAY_AUTH_TOKEN", "b" * 64)
    said = refusal(address)
    assert said.startswith("the cluster refuses the token of this machine (set, in RAY_AUTH_TOKEN)")
    assert "b" * 64 not in said
    assert "RAY_AUTH_MODE" not in os.environ
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    check_address(address)
    assert os.environ["RAY_AUTH_MODE"] == "token"  # Ray's client shows it then


# Sending


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


def test_a_stopped_sweep_of_a_job_is_gone_on_with_by_submitting(make_spec, tmp_path, monkeypatch):
    from orchestrator.engine.folder import SweepFolder
    from orchestrator.sweep.outcome import JOB, resume_hint

    folder = SweepFolder(tmp_path / "small")
    assert resume_hint(folder).endswith(f"jackpot run {tmp_path}/small/spec.yaml --out {tmp_path}/small")
    monkeypatch.setenv(JOB, "mine")
    assert resume_hint(folder) == "everything finished is kept. To go on: submit it again"
