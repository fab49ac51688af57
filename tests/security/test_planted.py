"""A real sweep on a Ray of its own, with secrets planted around it: nothing it writes or says holds one, and nothing of
it listens beyond this machine."""

from __future__ import annotations

import base64
import gzip
import ipaddress
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
from searching import found_below, found_in

from orchestrator.engine.concealing import concealed, secrets

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]

JACKPOT = Path(sys.executable).with_name("jackpot")
PLANTED = {
    "AWS_SECRET_ACCESS_KEY": "planted/aws+secret/key0000000000000000000",
    "AWS_SESSION_TOKEN": "planted-aws-session-token==",
    "MLFLOW_TRACKING_PASSWORD": "planted:mlflow@password",
    "RAY_AUTH_TOKEN": "91a47ed" * 9 + "0",
    "PGPASSWORD": "planted pg password",
    "HF_TOKEN": "hf_plantedtoken",
    "JACKPOT_MADE_UP_SECRET": "planted-made-up",
    "SOME_DATABASE": "postgresql://me:planted-in-an-address@10.0.0.1/db",
}
IN_AN_ADDRESS = "planted-in-an-address"
WORDS = [*(value for name, value in PLANTED.items() if name != "SOME_DATABASE"), IN_AN_ADDRESS]

NET = '''
"""A network that says all it knows and fails, once it is trained by a worker of Ray's."""
import logging
import os
import sys
import warnings

from torch import nn


class Net(nn.Module):
    residual = False

    def __init__(self, num_classes):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(1, 4, 3), nn.Linear(4 * 36, num_classes)

    def forward(self, images):
        if "default_worker" in sys.argv[0] and self.training:
            print("environment:", dict(os.environ))
            sys.stderr.write(os.environ["AWS_SESSION_TOKEN"] + chr(10))
            logging.getLogger("net").error("no access with %s", os.environ["PGPASSWORD"])
            warnings.warn(os.environ["JACKPOT_MADE_UP_SECRET"])
            try:
                raise ConnectionError("GET " + os.environ["SOME_DATABASE"] + " failed")
            except ConnectionError as error:
                raise RuntimeError("denied to " + os.environ["HF_TOKEN"]) from error
        return self.fc(self.conv(images).relu().flatten(1))
'''
SPEC = """
name: planted
data: digits
model: [convnet, "talkative:Net"]
recipe: {epochs: 1, batch: 256}
methods: [dense, random]
sparsities: [0.5]
concurrency: 1
latency: {batches: [1], seconds: 0.01}
"""


@dataclass
class Ran:
    """What is left of the sweep, and what was seen while it ran."""

    home: Path
    said: str = ""
    listening: set[tuple[str, str]] = field(default_factory=set)
    """Address and process of every socket that listened, at any time."""

    @property
    def sweep(self) -> Path:
        return self.home / "sweep"

    def jackpot(self, *arguments: str, **settings: str) -> str:
        """What a verb says, on both of its outputs."""
        done = subprocess.run(
            [JACKPOT, *arguments], cwd=self.home, env=self.env | settings, check=False, timeout=300,
            capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout + done.stderr

    @property
    def env(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_AUTH", "MLFLOW"))}
        return {**kept, **PLANTED, "HOME": str(self.home), "TMPDIR": str(self.home / "tmp"), "COLUMNS": "200"}


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    # Ray's sockets lie below it, and their paths may have 107 characters
    with tempfile.TemporaryDirectory(prefix="planted", dir="/tmp") as place:
        found = Ran(Path(place))
        (found.home / "tmp").mkdir()
        (found.home / "talkative.py").write_text(NET)
        (found.home / "spec.yaml").write_text(SPEC)
        process = subprocess.Popen(
            [JACKPOT, "run", "spec.yaml", "--out", "sweep"],
            cwd=found.home, env=found.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True,
        )  # fmt: skip
        try:
            while process.poll() is None:
                found.listening |= listening(process.pid)
                time.sleep(0.2)
            assert process.stdout
            found.said = process.stdout.read()
        finally:
            process.kill()
            process.wait()
        assert process.returncode == 1, found.said  # some trials failed
        yield found


def listening(leader: int) -> set[tuple[str, str]]:
    """The addresses that a process listens on, and those of its session and those that they started."""
    found = set()
    for process in psutil.process_iter():
        try:
            if leader in (os.getsid(process.pid), *(each.pid for each in process.parents())):
                connections = process.net_connections("inet")
                found |= {
                    (each.laddr.ip, process.name())
                    for each in connections
                    if each.status == psutil.CONN_LISTEN or (each.type == socket.SOCK_DGRAM and each.laddr)
                }
        except (psutil.Error, ProcessLookupError):  # it has just ended
            continue
    return found


def beyond(listening: set[tuple[str, str]]) -> list[tuple[str, str]]:
    """Those of the addresses that other machines reach."""

    def loopback(ip: str) -> bool:
        address = ipaddress.ip_address(ip)
        return (getattr(address, "ipv4_mapped", None) or address).is_loopback

    return sorted(each for each in listening if not loopback(each[0]))


# Listening


def test_a_sweep_listens_on_loopback_alone(ran: Ran) -> None:
    names = {name for _, name in ran.listening}
    assert {"gcs_server", "raylet"} <= names  # they were seen
    assert any(name.startswith("ray::") for name in names)
    assert beyond(ran.listening) == []


def test_what_listens_beyond_it_would_be_seen() -> None:
    with socket.create_server(("0.0.0.0", 0)), socket.create_server(("127.0.0.1", 0)):
        assert [ip for ip, _ in beyond(listening(os.getsid(0)))].count("0.0.0.0") >= 1
    assert beyond({("::ffff:127.0.0.1", "a"), ("::1", "b"), ("127.0.0.9", "c")}) == []
    assert len(beyond({("::", "a"), ("0.0.0.0", "b"), ("10.0.0.1", "c"), ("::ffff:10.0.0.1", "d")})) == 4


def test_mlflows_pages_listen_on_loopback_alone(ran: Ran) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    process = subprocess.Popen(
        [JACKPOT, "ui", "sweep", "--port", str(port)], cwd=ran.home, env=ran.env, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip
    try:
        seen: set[tuple[str, str]] = set()
        patience = time.monotonic() + 120
        while not seen:
            assert process.poll() is None
            assert time.monotonic() < patience
            time.sleep(0.2)
            seen = listening(process.pid)
        assert beyond(seen) == []
    finally:
        process.terminate()
        process.wait(timeout=30)


# Secrets


def test_the_trials_failed_as_planned_and_were_told(ran: Ran) -> None:
    results = {path.parent.name: json.loads(path.read_text()) for path in ran.sweep.glob("trials/*/result.json")}
    assert sorted(result["status"] for result in results.values()).count("done") == 2
    failed = next(result for result in results.values() if result["status"] == "failed")
    assert failed["error"]["message"] == "denied to (HF_TOKEN)"
    assert "GET postgresql://me:(SOME_DATABASE)@10.0.0.1/db failed" in failed["error"]["traceback"]
    log = (ran.sweep / "trials" / failed["trial"] / "log.txt").read_text()
    for name in PLANTED:
        assert f"({name})" in log
    assert "no access with (PGPASSWORD)" in log


def test_nothing_that_was_written_or_said_holds_a_secret(ran: Ran) -> None:
    said = {"run": ran.said}
    failed = next(path.parent.name for path in ran.sweep.glob("trials/talkative*/result.json"))
    verbs = [
        ["report", "sweep"], ["report", "sweep", "--bundle"], ["report", "sweep", "--format", "md"],
        ["status", "sweep", "--trials"], ["status", "sweep", "--json"], ["logs", f"sweep/{failed}"], ["doctor"],
        ["compare", "sweep/convnet_dense_seed0", f"sweep/{failed}", "--all"], ["sync", "sweep"],
        ["export", "sweep/convnet_dense_seed0", "ticket.onnx"], ["run", "spec.yaml", "--out", "sweep", "--dry-run"],
    ]  # fmt: skip
    for verb in verbs:
        said[" ".join(verb)] = ran.jackpot(*verb)
    address = "http://me:planted-in-an-address@127.0.0.1:9"
    said["tracking"] = ran.jackpot("run", "spec.yaml", "--out", "other", "--tracking", address)
    said["set"] = ran.jackpot("run", "spec.yaml", "--out", "other", "--set", f"tracking.uri={address}")
    said["variable"] = ran.jackpot("sync", "sweep", MLFLOW_TRACKING_URI=address)
    assert not (ran.home / "other").exists()
    assert "was given with a password" in said["tracking"]
    for what, text in said.items():
        assert text, what
        assert found_in(text.encode(), WORDS, what) == []
    assert (ran.sweep / "sweep.zip").exists()
    assert (ran.sweep / "mlflow.db").exists()
    ours = {ran.home / "talkative.py"}
    assert [found for found in found_below(ran.home, WORDS) if Path(found.partition(":")[0]) not in ours] == []


def test_a_secret_would_be_found_wherever_it_is_packed(tmp_path: Path) -> None:
    word = "planted-somewhere"
    (tmp_path / "plain").write_text(f"x{word}x")
    (tmp_path / word).touch()
    (tmp_path / "quoted").write_text("a planted%20somewhere".replace("%20", "-"))
    (tmp_path / "header").write_text(base64.b64encode(f"user:{word}".encode()).decode())
    packed = base64.b64encode(gzip.compress(os.urandom(100) + word.encode())).decode()
    (tmp_path / "page.html").write_text(f"<script>{packed}</script>")
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("member", "y" * 100 + word)
        file.writestr("page.html", f"<p>{packed}</p>")
    found = found_below(tmp_path, [word])
    places = [each.removeprefix("the name ").removeprefix(f"{tmp_path}/").partition(":")[0] for each in found]
    assert {*places} >= {"plain", word, "quoted", "header", "page.html!0", "x.zip!member", "x.zip!page.html!0"}


def test_what_counts_as_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ]:
        monkeypatch.delenv(name)
    kept = {
        "PWD": "/home/me", "AWS_ACCESS_KEY_ID": "AKIAPLANTED", "RAY_AUTH_MODE": "disabled", "HF_TOKEN": "12345",
        "RAY_AUTH_TOKEN_PATH": "/home/me/token", "MLFLOW_TRACKING_URI": "http://me@host:5000",
    }  # fmt: skip
    for name, value in {**kept, **PLANTED, "WEB": "http://me:pass-word@host", "OPENAI_API_KEY": "sk-abcdef"}.items():
        monkeypatch.setenv(name, value)
    assert set(secrets()) == {*PLANTED, "WEB", "OPENAI_API_KEY"}
    assert concealed("to http://me:pass-word@host with sk-abcdef") == "to http://me:(WEB)@host with (OPENAI_API_KEY)"
    assert concealed("planted%3Amlflow%40password") == "(MLFLOW_TRACKING_PASSWORD)"
    assert concealed("nothing") == "nothing"
