"""deploy/kuberay.yaml and deploy/slurm.sh, which nobody runs here: what they must have, and that a lack is seen."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from launcher_rules import ROOT

KUBERAY, SLURM = ROOT / "deploy" / "kuberay.yaml", ROOT / "deploy" / "slurm.sh"
Manifest = dict[str, Any]


def lacks(manifest: Manifest) -> Iterator[str]:
    """What a RayCluster's definition requires and we ask of every cluster, and this one has not."""
    if (manifest.get("apiVersion"), manifest.get("kind")) != ("ray.io/v1", "RayCluster"):
        yield "is no RayCluster"
    spec = manifest["spec"]
    if spec.get("rayVersion") != ray.__version__:
        yield f"rayVersion {spec.get('rayVersion')}, not {ray.__version__}"
    if spec.get("authOptions") != {"mode": "token"}:
        yield "no token authentication"
    if not spec.get("enableInTreeAutoscaling"):
        yield "no autoscaling"
    head, groups = spec["headGroupSpec"], spec["workerGroupSpecs"]
    for group, keys in [(head, ["rayStartParams", "template"])] + [
        (group, ["groupName", "minReplicas", "maxReplicas", "rayStartParams", "template"]) for group in groups
    ]:
        yield from (f"no {key}" for key in keys if key not in group)
        for value in group.get("rayStartParams", {}).values():
            if not isinstance(value, str):
                yield f"rayStartParams: {value!r} is not a string"
    start = head.get("rayStartParams", {})
    if (start.get("num-cpus"), start.get("num-gpus"), start.get("dashboard-host")) != ("0", "0", "127.0.0.1"):
        yield f"the head starts with {start}"
    for group in (head, *groups):
        yield from _pod_lacks(group.get("template", {}).get("spec", {"containers": []}), with_gpu=group is not head)


def _pod_lacks(pod: Manifest, with_gpu: bool) -> Iterator[str]:
    volumes = {volume["name"] for volume in pod.get("volumes", [])}
    for container in pod["containers"]:
        resources = container["resources"]
        if resources["requests"] != resources["limits"]:
            yield f"{container['name']}: requests other than limits"
        if ("nvidia.com/gpu" in resources["limits"]) != with_gpu:
            yield f"{container['name']}: GPUs {resources['limits']}"
        for mount in container.get("volumeMounts", []):
            if mount["name"] not in volumes:
                yield f"{container['name']}: no volume {mount['name']}"


def read() -> Manifest:
    return yaml.safe_load(KUBERAY.read_text())


def test_the_manifest_lacks_nothing() -> None:
    assert list(lacks(read())) == []


BREACHES: list[Callable[[Manifest], object]] = [
    lambda manifest: manifest.update(kind="RayJob"),
    lambda manifest: manifest["spec"].update(rayVersion="2.9.0"),
    lambda manifest: manifest["spec"].pop("authOptions"),
    lambda manifest: manifest["spec"].update(enableInTreeAutoscaling=False),
    lambda manifest: manifest["spec"]["headGroupSpec"].pop("template"),
    lambda manifest: manifest["spec"]["headGroupSpec"]["rayStartParams"].update({"dashboard-host": "0.0.0.0"}),
    lambda manifest: manifest["spec"]["headGroupSpec"]["rayStartParams"].update({"num-cpus": 0}),
    lambda manifest: manifest["spec"]["workerGroupSpecs"][0].pop("maxReplicas"),
    lambda manifest: manifest["spec"]["workerGroupSpecs"][0]["template"]["spec"].pop("volumes"),
    lambda manifest: manifest["spec"]["workerGroupSpecs"][0]["template"]["spec"]["containers"][0]["resources"].update(
        limits={"cpu": "4"}
    ),
]


@pytest.mark.parametrize("breach", BREACHES)
def test_a_lack_is_seen(breach: Callable[[Manifest], object]) -> None:
    manifest = read()
    breach(manifest)
    assert list(lacks(manifest)) != []


SRUN = 'printf "%s\\n" RAY_AUTH_MODE="$RAY_AUTH_MODE" JACKPOT_CACHE="$JACKPOT_CACHE" "$@" > "$HOME/asked"'


@pytest.fixture
def job(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess]:
    """Runs the script as Slurm would on three nodes, with programs of Slurm's and of the .venv that write down what
    they are asked for."""
    programs = tmp_path / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "activate").write_text(f'PATH="{programs}:$PATH"\n')
    for name, body in (("scontrol", "printf 'n1\\nn2\\nn3\\n'"), ("srun", SRUN), ("ray", "umask > $HOME/umask")):
        (programs / name).write_text(f"#!/bin/sh\n{body}\n")
        (programs / name).chmod(0o755)
    settings = {
        "PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": "/scratch", "SLURM_SUBMIT_DIR": str(tmp_path),
        "SLURM_JOB_NODELIST": "n[1-3]", "SLURM_JOB_NUM_NODES": "3", "SLURM_CPUS_PER_TASK": "16",
        "SLURM_GPUS_PER_TASK": "4",
    }  # fmt: skip

    def run(*words: str, **changes: str) -> subprocess.CompletedProcess:
        command = ["bash", str(SLURM), *words]
        return subprocess.run(command, env=settings | changes, check=False, capture_output=True, text=True)

    return run


def test_the_job_runs_the_sweep_on_all_nodes(job: Callable[..., subprocess.CompletedProcess], tmp_path: Path) -> None:
    done = job("my spec.yaml", "--max-hours", "23.5")
    assert (done.returncode, done.stderr) == (0, "")
    mode, cache, *asked = (tmp_path / "asked").read_text().splitlines()
    assert (mode, cache.startswith("JACKPOT_CACHE=/scratch/jackpot-")) == ("RAY_AUTH_MODE=token", True)
    assert asked == [
        "ray", "symmetric-run", "--address", "n1:6379", "--min-nodes", "3", "--num-cpus", "16", "--num-gpus", "4",
        "--", "jackpot", "run", "my spec.yaml", "--max-hours", "23.5", "--address", "auto",
    ]  # fmt: skip
    assert (tmp_path / "umask").read_text().strip() == "0077"  # under which the token is made


def test_a_job_that_lacks_something_says_it(job: Callable[..., subprocess.CompletedProcess], tmp_path: Path) -> None:
    done = job()
    assert (done.returncode != 0, "usage: sbatch deploy/slurm.sh SPEC" in done.stderr) == (True, True)
    done = job("my.yaml", SLURM_SUBMIT_DIR="/nowhere")
    assert (done.returncode != 0, "/nowhere/.venv/bin/activate" in done.stderr) == (True, True)
    assert not (tmp_path / "asked").exists()


def test_ray_knows_the_options_of_symmetric_run() -> None:
    from ray.scripts.symmetric_run import curate_and_validate_ray_start_args as rest

    given = ["--address", "n1:6379", "--min-nodes", "3", "--num-cpus", "16", "--num-gpus", "4"]
    assert rest(given) == ["--num-cpus", "16", "--num-gpus", "4"]


def test_nothing_secret() -> None:
    from launcher_rules import SECRETS

    for path in (ROOT / "cluster.yaml", *(ROOT / "deploy").iterdir()):
        assert SECRETS.findall(path.read_text()) == []
    assert SECRETS.search(f"export RAY_AUTH_TOKEN={'ab' * 32}")
