"""Sweeps as jobs of a cluster: what is sent, and whom it is sent to."""

import os
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from orchestrator.spec.loading import load
from orchestrator.sweep import jobs
from orchestrator.sweep.jobs import SPEC, check_address, job_id, staged
from orchestrator.sweep.session import ClusterError

TOKEN = "a" * 64


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
    assert files.keys() == {SPEC, "w.safetensors"}
    (here / "spec.yaml").write_text(files[SPEC])
    assert load(here / "spec.yaml").require() == spec


@pytest.mark.parametrize("weights", ["../outside.py", "{here}/w.safetensors", "IMAGENET1K_V1", "x" * 5000, "link.py"])
def test_no_file_outside_the_folder_goes_along(here, make_spec, weights):
    weights = weights.format(here=here)
    assert sent(make_spec(model={"name": "convnet", "weights": weights})).keys() == {SPEC}


def test_with_code_the_source_goes_along_and_nothing_else(here, make_spec):
    (here / "spec.yaml").write_text("name: another")  # of the user's own
    files = sent(make_spec(), code=True)
    assert files.keys() == {SPEC, "spec.yaml", "w.safetensors", "nets.py", "sub/more.py"}
    assert files["spec.yaml"] == "name: another"
    (here / "again.yaml").write_text(files[SPEC])
    assert load(here / "again.yaml").require() == make_spec()


def test_too_much_is_refused_with_the_largest_named(here, make_spec, monkeypatch):
    monkeypatch.setattr(jobs, "MAX_BYTES", 2 * 2**20)
    with open("sub/large.bin", "wb") as file:
        file.truncate(3 * 2**20)
    words = re.escape(f"{here}: 3 MiB would be sent, the largest sub/large.bin; a job brings at most 2 MiB: put data")
    with pytest.raises(ClusterError, match=words), staged(make_spec(), code=True):
        pass
    assert SPEC in sent(make_spec())


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
    with socket.create_server(("127.0.0.1", 0)) as server:  # such as SSH's
        threading.Thread(target=lambda: server.accept()[0].sendall(b"SSH-2.0-OpenSSH\r\n"), daemon=True).start()
        assert refusal(f"http://127.0.0.1:{server.getsockname()[1]}").endswith(remedy)
    assert refusal("http://127.0.0.1:82a65").endswith(remedy)
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


def test_a_stopped_sweep_of_a_job_is_gone_on_with_by_submitting(make_spec, tmp_path, monkeypatch):
    from orchestrator.engine.folder import SweepFolder
    from orchestrator.sweep.outcome import JOB, resume_hint

    folder = SweepFolder(tmp_path / "small")
    assert resume_hint(folder).endswith(f"jackpot run {tmp_path}/small/spec.yaml --out {tmp_path}/small")
    monkeypatch.setenv(JOB, "mine")
    assert resume_hint(folder) == "everything finished is kept. To go on: submit it again"
