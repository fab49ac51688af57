"""A head started by the very commands of the files, on a host of its own: what listens where, and whom it lets in."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from launcher_rules import CLUSTER, LOCAL, ROOT

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ray")]
ADDRESS = "10.77.0.1"
PROGRAMS = ("unshare", "mount", "ip", "ss", "curl", "setsid")

HOST = f"""
set -e
mount --bind "$HOME/ray" /tmp/ray
ip link set lo up
ip link add eth0 type veth peer name eth1
ip link set eth1 up
ip addr add {ADDRESS}/24 dev eth0
ip link set eth0 up
ip route add default via 10.77.0.9
for command in "$HOME"/commands/*; do bash --login -c "$(cat "$command")" < /dev/null; done
exec {sys.executable} "$HOME/look.py"
"""

LOOK = """
import json, os, pathlib, subprocess, sys, time, urllib.error, urllib.request

token = pathlib.Path.home().joinpath(".ray/auth_token").read_text()

def status(url, given):
    asked = urllib.request.Request(url, headers={"Authorization": f"Bearer {given}"} if given else {})
    try:
        return urllib.request.urlopen(asked, timeout=20).status
    except urllib.error.HTTPError as error:
        return error.code

def ray(*command, program="ray", **settings):
    # of a user elsewhere on the network: with another home folder
    environment = os.environ | {"HOME": "/nonexistent"} | settings
    done = subprocess.run([program, *command], env=environment, capture_output=True, text=True, timeout=100)
    return done.returncode, (done.stdout + done.stderr)[-2000:]

def at_last(*command, **settings):
    # Ray's client server starts a process for each client, which does not always live on a machine that is busy
    for _ in range(3):
        done = ray(*command, **settings)
        if done[0] == 0:
            break
    return done

jobs = "http://127.0.0.1:8265/api/jobs/"
while True:
    try:
        status(jobs, token)
        break
    except urllib.error.URLError:
        time.sleep(0.5)
names = ["RAY_AUTH_MODE", "JACKPOT_CACHE", "MLFLOW_TRACKING_URI"]
mine = (
    f"import json, os, shutil; mine = {{name: os.environ.get(name) for name in {names}}}; "
    "print('SEEN', json.dumps([mine, shutil.which('jackpot')]))"
)
cluster = ("status", "--address", "ADDRESS:6379")
client = ("-c", "import ray; ray.init('ray://ADDRESS:10001'); print('INSIDE', len(ray.nodes()))")
slots = ("-c", "import ray; ray.init('ADDRESS:6379', log_to_driver=False); "
    "from orchestrator.spec.models import Resources; from orchestrator.sweep.session import trial_slots; "
    "print('SLOTS', trial_slots(Resources(cpu=1, gpu=1), 8)); trial_slots(Resources(cpu=1, gpu=1), None)")
print("FOUND", json.dumps({
    "listens": subprocess.run(["ss", "-tlnH"], capture_output=True, text=True, check=True).stdout,
    "http": {name: status(jobs, given) for name, given in (("none", ""), ("wrong", "a" * 64), ("right", token))},
    "status": {
        "none": ray(*cluster, RAY_AUTH_MODE="disabled"),
        "wrong": ray(*cluster, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN="a" * 64),
        "right": ray(*cluster, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token),
    },
    "client": {
        "none": ray(*client, program=sys.executable, RAY_AUTH_MODE="disabled",
                    RAY_CLIENT_INITIAL_CONNECTION_TIMEOUT_S="1"),
        "right": at_last(*client, program=sys.executable, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token),
    },
    "slots": ray(*slots, program=sys.executable, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token),
    "job": ray("job", "submit", "--address", "http://127.0.0.1:8265", "--", sys.executable, "-c", mine,
               RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token),
}))
""".replace("ADDRESS", ADDRESS)


@pytest.fixture(scope="module", params=[CLUSTER, LOCAL], ids=lambda path: path.name)
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What was seen on a host (network, processes and Ray's folder of its own) on which a file's head was started."""
    needs: Callable[[bool, str], None] = request.getfixturevalue("needs_system")
    there = os.geteuid() == 0 and all(shutil.which(program) for program in PROGRAMS)
    needs(there, f"root, and of the system {', '.join(PROGRAMS)}")
    home = tmp_path_factory.mktemp("home")
    for name in ("ray", "commands", ".ray"):
        (home / name).mkdir()
    (home / ".ray" / "auth_token").write_text("0123456789abcdef" * 4)
    # without workers, which it would try to reach
    alone = {"cluster_name": "alone", "provider": {"type": "local", "head_ip": ADDRESS, "worker_ips": []}}
    (home / "ray_bootstrap_config.yaml").write_text(yaml.safe_dump(alone))
    for number, command in enumerate(yaml.safe_load(request.param.read_text())["head_start_ray_commands"]):
        (home / "commands" / str(number)).write_text(f"export PATH={Path(sys.executable).parent}:$PATH\n{command}")
    (home / "look.py").write_text(LOOK)
    Path("/tmp/ray").mkdir(exist_ok=True)
    settings = {
        "HOME": str(home), "SSH_CONNECTION": f"10.77.0.9 50000 {ADDRESS} 22", "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_enable_autoscaler_v2": "1", "PYTHONPATH": str(ROOT),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }  # fmt: skip
    done = subprocess.run(
        ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount", "--mount-proc", "bash", "-c", HOST],
        env=settings, cwd=home, check=False, capture_output=True, text=True, timeout=400,
    )  # fmt: skip
    seen = re.search(r"^FOUND (.*)$", done.stdout, re.MULTILINE)
    assert seen, done.stdout[-3000:] + done.stderr[-3000:]
    logs = sorted(path for path in (home / "ray").glob("session_2*/logs/ray_client_server*") if path.is_file())
    log = "\n".join(f"{path.name}:\n{path.read_text(errors='replace')[-3000:]}" for path in logs)
    return json.loads(seen.group(1)) | {"file": request.param, "client_log": log}


def test_dashboard_and_mlflow_listen_on_loopback_alone(found: dict[str, Any]) -> None:
    where: dict[str, set[str]] = {}
    for line in found["listens"].splitlines():
        host, port = line.split()[3].rsplit(":", 1)
        where.setdefault(port, set()).add(host)
    assert where["8265"] == {"127.0.0.1"}
    assert where.get("5000") == ({"127.0.0.1"} if found["file"] == CLUSTER else None)
    assert "6379" in where  # what the nodes join by


def test_nobody_gets_in_without_the_token(found: dict[str, Any]) -> None:
    assert found["http"] == {"none": 401, "wrong": 403, "right": 200}
    for given in ("none", "wrong"):
        status, said = found["status"][given]
        assert (status == 0, "InvalidAuthToken" in said) == (False, True), said
    status, said = found["client"]["none"]
    assert (status == 0, "INSIDE" in said) == (False, False), said
    status, said = found["status"]["right"]
    assert (status, "Total Usage" in said) == (0, True), said
    status, said = found["client"]["right"]
    assert (status, "INSIDE 1" in said) == (0, True), f"{said}\n{found['client_log']}"


def test_the_head_offers_nothing_to_a_trial(found: dict[str, Any]) -> None:
    if found["file"] == LOCAL:  # on AWS the launcher says it, not the command
        assert not re.search(r"/[0-9.]+ (CPU|GPU)", found["status"]["right"][1])


def test_trials_wait_for_workers_that_are_to_come(found: dict[str, Any]) -> None:
    status, said = found["slots"]
    assert ("SLOTS 8" in said) == (found["file"] == CLUSTER), said  # no machine of one's own comes because trials wait
    assert (status != 0, "ClusterError: no trial fits" in said, "set `concurrency`" in said) == (True, True, True), said


def test_a_job_runs_in_token_mode_and_knows_where_all_is(found: dict[str, Any]) -> None:
    status, said = found["job"]
    seen = re.search(r"SEEN (.*)", said)
    assert (status, bool(seen)) == (0, True), said
    environment, program = json.loads(seen.group(1)) if seen else ({}, None)
    assert environment["RAY_AUTH_MODE"] == "token"
    assert environment["JACKPOT_CACHE"].startswith("/")
    tracking = "http://127.0.0.1:5000" if found["file"] == CLUSTER else None
    assert environment["MLFLOW_TRACKING_URI"] == tracking
    assert program
