"""deploy/local.yaml over SSH, on hosts made of namespaces: `ray up` from a laptop that has no Ray of its own, a sweep
sent, stopped, gone on with and read there, what listens meanwhile, `ray down`."""

from __future__ import annotations

import json
import re
import shutil
import signal
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml
from hosts import Host, can_host
from racks import Rack
from ssh_hosts import SSHD, Laptop, furnish, let_in, local_file, until

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("hosts")]
ADDRESS = ("--address", "http://127.0.0.1:8265")
OUT = "/mnt/jackpot/sweeps/tiny"
SPEC = {
    "name": "tiny",
    "data": "digits",
    "model": {"name": "convnet", "width": 0.25},
    "recipe": {"epochs": 60, "batch": 256, "lr": 0.05},
    "methods": ["random"],
    "sparsities": [0.9],
    "seeds": [0, 1],
    "latency": {"enabled": False},
}
PROBE = """
import http.client, sys
from concurrent.futures import ThreadPoolExecutor

def ask(where):
    connection = http.client.HTTPConnection(where, timeout=5)
    try:
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        return f"{where} {answer.status} {answer.read(7)}"
    except (http.client.HTTPException, OSError):
        return f"{where} no HTTP"

with ThreadPoolExecutor(20) as pool:
    print(*pool.map(ask, sys.argv[1:]), sep="\\n")
"""


@dataclass
class Cluster:
    laptop: Laptop
    head: Host
    workers: list[Host]
    shared: Path

    @property
    def machines(self) -> list[Host]:
        return [self.head, *self.workers]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A head and two workers under Ray, begun from a laptop as deploy/README.md says."""
    needs: Callable[[bool, str], None] = request.getfixturevalue("needs_system")
    needs(can_host(), "network, process and mount namespaces, and ip, nsenter, setpriv and unshare (root)")
    needs(SSHD.exists() and all(map(shutil.which, ("ssh", "rsync", "ss"))), "sshd, ssh, rsync and ss")
    folder = tmp_path_factory.mktemp("up")
    shared = folder / "shared"
    with Rack(folder / "rack", shared) as rack:
        laptop, head, *workers = rack.add(["laptop", "head", "red", "blue"])
        for host in rack.hosts.values():
            furnish(host, shared)
        made = Cluster(Laptop(laptop), head, workers, shared)
        _up(made)
        yield made


def _up(cluster: Cluster) -> None:
    laptop = cluster.laptop
    _well(laptop, "ssh-keygen", "-t", "ed25519", "-N", "", "-f", "/tmp/home/.ssh/jackpot")
    _well(laptop, "bash", "-c", "ray get-auth-token --generate > /dev/null && chmod 600 ~/.ray/auth_token")
    for host in cluster.machines:
        let_in(host, (laptop.host.tmp / "home/.ssh/jackpot.pub").read_text())
    (laptop.host.tmp / "local.yaml").write_text(local_file(cluster.head, cluster.workers))
    _well(laptop, "ray", "up", "--yes", "/tmp/local.yaml")
    laptop.begins("ray", "dashboard", "/tmp/local.yaml", said=laptop.host.folder / "dashboard.txt")
    until(lambda: "127.0.0.1:8265" in laptop.host.run("ss", "-tlnH"), "the dashboard on the laptop")
    for host in cluster.workers:
        until(lambda host=host: "runtime started" in _log(host), f"Ray on {host.name}")


def _log(host: Host) -> str:
    """What a worker's Ray has said."""
    path = host.tmp / "home" / ".ray" / f"{host.name}.log"
    return path.read_text() if path.exists() else ""


def _well(laptop: Laptop, *command: str | Path, timeout: float = 180) -> str:
    """What a command says that must succeed."""
    code, said = laptop.types(*command, timeout=timeout)
    assert code == 0, said
    return said


@pytest.fixture(scope="module")
def checked(cluster: Cluster) -> dict[str, Any]:
    """What the check says of the cluster."""
    return json.loads(_well(cluster.laptop, "jackpot", "cluster", "check", *ADDRESS, "--out", OUT, "--json"))


def test_every_machine_is_there_and_well(cluster: Cluster, checked: dict[str, Any]) -> None:
    there = {row["address"]: (row["host"], row["head"]) for row in checked["nodes"]}
    assert there == {host.address: (host.name, host is cluster.head) for host in cluster.machines}
    assert checked["problems"] == []


def test_a_machine_that_does_not_share_the_folder_is_named(cluster: Cluster) -> None:
    stranger = cluster.workers[0]
    stranger.run("umount", "-l", "/mnt/jackpot")
    try:
        code, said = cluster.laptop.types("jackpot", "cluster", "check", *ADDRESS, "--out", OUT)
    finally:
        stranger.run("mount", "--bind", cluster.shared, "/mnt/jackpot")
    assert code == 1, said
    assert f"problem: {stranger.address}: sees what 1 of 3 machines write to {OUT}; it must be one folder" in said
    assert list(cluster.shared.rglob(".check-*")) == []


def test_a_sweep_from_the_laptop(cluster: Cluster, checked: dict[str, Any], tmp_path: Path) -> None:
    laptop, cpus = cluster.laptop, min(row["cpus"] for row in checked["nodes"] if not row["head"])
    spec = SPEC | {"resources": {"cpu": int(cpus)}}  # a trial fills a machine, so that both are used
    (laptop.host.tmp / "tiny.yaml").write_text(yaml.safe_dump(spec))
    submit = ("jackpot", "submit", "/tmp/tiny.yaml", *ADDRESS, "--out", OUT)

    following = laptop.begins(*submit, said=tmp_path / "first.txt")
    until(lambda: any(cluster.shared.glob("sweeps/tiny/trials/*/events.jsonl")), "a trial to begin", seconds=180)
    laptop.host.signal(signal.SIGINT, "jackpot submit")  # Ctrl-C
    assert following.wait(timeout=30) == 130
    (job,) = set(re.findall(r"jackpot-tiny-[0-9a-f]{12}", (tmp_path / "first.txt").read_text()))
    assert (tmp_path / "first.txt").read_text().endswith("submit again to follow it\n")
    assert f"{job}: is running already" in _well(laptop, *submit, "--detach")
    assert "tiny: running" in _well(laptop, "jackpot", "status", OUT)

    assert _well(laptop, "jackpot", "stop", OUT) == f"{OUT}: stopped\n"
    assert "tiny: not running" in _well(laptop, "jackpot", "status", OUT)
    said = _well(laptop, *submit, timeout=600)
    assert f"{job}: sent" in said
    assert said.count("Running entrypoint for job") == 1  # what it said before is not said again
    assert "[2/2]" in said
    assert "epochs: 120 trained, 120 distinct in the plan" in _well(laptop, "jackpot", "status", OUT)

    _well(laptop, "jackpot", "report", OUT)
    results = pd.read_csv(cluster.shared / "sweeps/tiny/results.csv")
    assert set(results["status"]) == {"done"}
    assert set(results["host"]) == {host.name for host in cluster.workers}  # the head runs the driver alone
    assert laptop.host.processes("raylet") == {}


def test_what_listens_is_what_the_readme_says(cluster: Cluster) -> None:
    heads = cluster.head.address
    metrics = sorted([heads, heads, heads, *(host.address for host in cluster.workers)])
    # a machine's own agent begins some time after its Ray
    until(lambda: _answering(cluster)["200 b'# HELP '"] == metrics, f"metrics: {_answering(cluster)}")
    answering = _answering(cluster)
    assert set(answering) == {"200 b'# HELP '", "401 b'Unautho'", "no HTTP"}, answering
    assert {"22", "6379", "10001"} <= _ports(cluster.head)
    for host in cluster.machines:
        assert not _ports(host) & {"8265", "5000"}  # the dashboard is on loopback, and no MLflow is started
    assert _ports(cluster.laptop.host) == set()


def _ports(host: Host) -> set[str]:
    """Where others can reach a host."""
    listening = [line.split()[3].rsplit(":", 1) for line in host.run("ss", "-tlnH").splitlines()]
    return {port for address, port in listening if address not in ("127.0.0.1", "[::1]", "[::ffff:127.0.0.1]")}


def _answering(cluster: Cluster) -> dict[str, list[str]]:
    """How the ports of the machines' Ray answer who shows no token -> addresses that answer so."""
    asked = [f"{host.address}:{port}" for host in cluster.machines for port in _ports(host) - {"22"}]
    found = defaultdict(list)
    for line in sorted(_well(cluster.laptop, "python", "-c", PROBE, *asked).splitlines()):
        where, answer = line.split(" ", 1)
        found[answer].append(where.split(":")[0])
    return found


def test_ray_down_leaves_nothing_running(cluster: Cluster) -> None:
    # the last test, for the cluster is gone then
    _well(cluster.laptop, "ray", "down", "--yes", "/tmp/local.yaml")
    assert _rays(cluster.head) == []
    for host in cluster.workers:  # which have to miss their head first
        until(lambda host=host: _rays(host) == [], f"Ray on {host.name} to end", seconds=180)


def _rays(host: Host) -> list[str]:
    """What of Ray runs on a host."""
    return [line for line in host.processes("ray").values() if "sshd" not in line]
