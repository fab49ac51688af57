"""Machines with two types of device: every latency is measured on one of them."""

from __future__ import annotations

import json
import secrets
import sys
from pathlib import Path

import pytest
import yaml
from hosts import can_host
from racks import Rack

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("hosts")]
JACKPOT = Path(sys.executable).with_name("jackpot")
SPEC = {
    "name": "types",
    "data": "digits",
    "model": {"name": "convnet", "width": 0.25},
    "recipe": {"epochs": 6, "batch": 64, "lr": 0.05},
    "methods": ["dense", "random", "filter_prune"],
    "sparsities": [0.5],
    "seeds": [0, 1],
    "latency": {"batches": [1], "seconds": 0.05},
    "tracking": {"enabled": False},
}


def test_latencies_are_measured_on_one_type_of_device(tmp_path: Path, needs_system) -> None:
    needs_system(can_host(), "network, process and mount namespaces, and ip, nsenter, setpriv and unshare (root)")
    shared = tmp_path / "shared"
    with Rack(tmp_path / "rack", shared) as rack:
        (shared / "token").write_text(secrets.token_hex(32))
        (shared / "types.yaml").write_text(yaml.safe_dump(SPEC))
        settings = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(shared / "token")}
        head, new, old = rack.add(["head", "new", "old"], **settings)
        head.start_ray()
        new.start_ray(head, 2, "--labels=ray.io/accelerator-type=NEW")
        old.start_ray(head, 1, "--labels=ray.io/accelerator-type=OLD")
        for host in (new, old):
            host.wait_for_ray()
        out = shared / "sweep"
        run = [JACKPOT, "run", shared / "types.yaml", "--address", f"{head.address}:6379", "--out", out]
        said = head.run("bash", "-c", " ".join(map(str, run)) + " 2>&1", timeout=300)
        results = [json.loads(path.read_text()) for path in out.glob("trials/*/result.json")]
    assert "latencies are measured on machines with NEW" in said
    assert [result["status"] for result in results] == ["done"] * 6
    assert {result["host"]["hostname"] for result in results} == {"new", "old"}
    assert {record["host"] for result in results for record in result["latency"]} == {"new"}
    assert len({record["structure"] for result in results for record in result["latency"]}) > 1
