"""Ray's token: one is made for every Ray started here, and a cluster that asks for none is named."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from orchestrator.cli.app import app
from orchestrator.sweep import tokens

HEAD = """
import sys

import ray

ray.init(
    address="local", num_cpus=1, include_dashboard=True, dashboard_port=int(sys.argv[1]), log_to_driver=False
)
print(ray.get_runtime_context().gcs_address, flush=True)
sys.stdin.read()
"""
JOIN = """
import sys

from orchestrator.sweep.session import ClusterError, ray_session

if "import ray first" in sys.argv:
    import ray
try:
    with ray_session(sys.argv[1]):
        import ray
        print("joined", len(ray.nodes()))
except ClusterError as error:
    print(error)
"""
LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


@contextmanager
def head(home: Path, mode: str) -> Iterator[tuple[str, str]]:
    """A Ray of its own with the token of `home`: the addresses of its head and of its dashboard."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-c", HEAD, str(port)],
        env={**without_token(), **LOOPBACK, "HOME": str(home), "RAY_AUTH_MODE": mode},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    try:
        yield process.stdout.readline().strip(), f"http://127.0.0.1:{port}"
    finally:
        process.stdin.close()  # ends it
        process.wait(timeout=60)


def without_token() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without a token, in which none is switched off."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def doctor(*arguments: str) -> tuple[int, dict]:
    said = CliRunner().invoke(app, ["doctor", "--json", *arguments])
    return said.exit_code, json.loads(said.stdout)


# The token of this machine


def test_a_token_is_made_for_its_owner_alone_and_kept(home: Path) -> None:
    tokens.make_token()
    path = home / ".ray" / "auth_token"
    made = path.read_text()
    assert re.fullmatch("[0-9a-f]{64}", made)
    assert path.stat().st_mode & 0o777 == 0o600
    tokens.make_token()
    assert path.read_text() == made
    assert tokens.token() == made


def test_an_empty_file_that_others_may_read_is_replaced(home: Path) -> None:
    path = home / ".ray" / "auth_token"
    path.parent.mkdir()
    path.write_text("\n")
    path.chmod(0o644)
    tokens.make_token()
    assert len(path.read_text()) == 64
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("setting", [("RAY_AUTH_MODE", "disabled"), ("RAY_AUTH_TOKEN", "a" * 64)])
def test_none_is_made_where_none_is_needed(home: Path, monkeypatch: pytest.MonkeyPatch, setting: tuple) -> None:
    monkeypatch.setenv(*setting)
    tokens.make_token()
    assert not (home / ".ray").exists()


def test_where_ray_finds_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert tokens.own_state() == ("none yet; `jackpot run` makes one", "")
    tokens.make_token()
    assert tokens.own_state() == (f"set, in {home}/.ray/auth_token", "")
    other = home / "other"
    other.write_text("b" * 64)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(other))
    assert tokens.token() == "b" * 64
    found, wrong = tokens.own_state()
    assert found == f"set, in {other}"
    assert wrong == f"others on this machine may read Ray's token; run `chmod 600 {other}`"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "c" * 64)
    assert (tokens.token(), tokens.own_state()) == ("c" * 64, ("set, in RAY_AUTH_TOKEN", ""))
    monkeypatch.setenv("RAY_AUTH_MODE", "DISABLED")
    assert tokens.own_state()[0].startswith("switched off by RAY_AUTH_MODE")


def test_doctor_says_it_without_the_token_itself(home: Path) -> None:
    tokens.make_token()
    said = CliRunner().invoke(app, ["doctor"]).stdout
    assert f"ray_token      set, in {home}/.ray/auth_token" in said
    assert tokens.token() not in said


def test_what_is_no_ray_is_said(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    for each, what in [(address, "head"), (f"http://{address}", "dashboard")]:
        code, found = doctor("--address", each)
        assert code == 1
        assert found["cluster"] == "does not answer"
        assert any(said.startswith(f"{each}: no Ray {what} answers there") for said in found["missing"])


# Clusters


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_a_cluster_that_asks_for_a_token(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokens.make_token()
    own = tokens.token()
    with head(home, "token") as addresses:
        for address in addresses:
            assert not tokens.admits(address, "")
            assert not tokens.admits(address, "0" * 64)
            assert tokens.admits(address, own)
            _, found = doctor("--address", address)
            assert found["cluster"] == "asks for a token"
            assert found["missing"] == []
        _joining(addresses[0], tmp_path, {"HOME": str(home)})
        monkeypatch.setenv("HOME", str(tmp_path / "stranger"))
        for address in addresses:
            code, found = doctor("--address", address)
            assert code == 1
            assert found["missing"] == [f"{address} asks for a token, and there is none here; set RAY_AUTH_TOKEN"]


def _joining(address: str, tmp_path: Path, own: dict[str, str]) -> None:
    """`jackpot run --address` shows the token that there is, though Ray itself shows none at an address, and says at
    once where that does not do."""

    def join(settings: dict[str, str], *arguments: str) -> str:
        env = {**without_token(), **LOOPBACK, **settings}
        command = [sys.executable, "-c", JOIN, address, *arguments]
        return subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, timeout=60, check=True).stdout

    assert join(own) == "joined 1\n"
    assert join(own, "import ray first") == "joined 1\n"
    stranger = {"HOME": str(tmp_path / "nobody")}
    assert join(stranger).startswith(f"--address {address}: the cluster asks for a token, and there is none here")
    wrong = join({**stranger, "RAY_AUTH_TOKEN": "0" * 64})
    assert wrong.startswith(
        f"--address {address}: the cluster refuses the token of this machine (set, in RAY_AUTH_TOKEN)"
    )


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_a_cluster_that_asks_for_none_is_said_to(home: Path) -> None:
    tokens.make_token()
    with head(home, "disabled") as addresses:
        for address in addresses:
            code, found = doctor("--address", address)
            assert (code, found["cluster"]) == (1, "asks for no token")
            (said,) = found["missing"]
            assert said.startswith(f"{address} obeys whoever reaches it, for it asks for no token; run `ray get-auth")
