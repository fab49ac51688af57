"""What must hold on all machines of a cluster, looked at before anything is paid for: run as a job on the head."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

from orchestrator.engine.finding import folder_at
from orchestrator.engine.folder import SweepFolder
from orchestrator.spec.models import Spec
from orchestrator.sweep.machine import SOURCE, look_around, see_others, source_digest, sweep_up

SKEW_SECONDS = 5.0
"""How far clocks may differ before it is said. Nothing is decided by them, but times in logs would mislead."""
NODE_SECONDS = 120.0
"""How long a machine may take to answer: the first process on it has to start."""


def examine(out: str, spec: Spec | None) -> dict[str, Any]:
    """What each machine of the Ray cluster that this process is connected to says of itself, and what is wrong. Raises
    ClusterError where there is no Ray."""
    import ray

    nodes = sorted((node for node in ray.nodes() if node["Alive"]), key=lambda node: node["NodeManagerAddress"])
    data = str(root) if spec and (root := getattr(spec.data, "root", None)) else None
    nonce = uuid.uuid4().hex
    rows = [_row(node) | found for node, found in zip(nodes, _ask(nodes, look_around, out, data, nonce), strict=True)]
    folder = folder_at(out)
    if not any(row.get("storage", "?") for row in rows):
        with folder.store.claim(f"check-{nonce}"):  # while all have written
            rows = [row | found for row, found in zip(rows, _ask(nodes, see_others, out, nonce), strict=True)]
    if any(row.get("storage") == "" for row in rows):
        sweep_up(folder, nonce)
    wrong = problems(rows, out) + (_tracking(spec, folder) if spec else [])
    return {"nodes": rows, "slots": _slots(nodes, spec), "problems": wrong}


def _row(node: dict[str, Any]) -> dict[str, Any]:
    return {
        "address": node["NodeManagerAddress"],
        "head": "node:__internal_head__" in node["Resources"],
        "cpus": node["Resources"].get("CPU", 0),
        "gpus": node["Resources"].get("GPU", 0),
        "device": node.get("Labels", {}).get("ray.io/accelerator-type", "cpu"),
    }


def _ask(nodes: list[dict[str, Any]], function: Callable[..., dict[str, Any]], *arguments: Any) -> list[dict[str, Any]]:
    """What a function finds on each of the machines; what is wrong where it cannot be run there."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    began, asked = time.time(), []
    for node in nodes:
        there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        task = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there)(function)
        asked.append(task.remote(*arguments))
    found, waiting = {}, list(asked)
    while waiting:
        # one by one, for a clock is compared with this one when its answer comes
        ready, waiting = ray.wait(waiting, timeout=max(0.0, began + NODE_SECONDS - time.time()))
        if not ready:
            break
        found[ready[0]] = _answer(ready[0], began)
    return [found.get(task, {"error": f"not within {NODE_SECONDS:g} s"}) for task in asked]


def _answer(task: Any, began: float) -> dict[str, Any]:
    """What a machine has found, and by how much its clock differs at least."""
    import ray

    try:
        found = ray.get(task)
    except Exception as error:  # whatever is wrong with that machine
        lines = str(error).strip().splitlines() or [""]
        return {"error": f"{type(error).__name__}: {lines[-1]}"}
    return found | {"skew": max(0.0, began - found["time"], found["time"] - time.time())}


def _slots(nodes: list[dict[str, Any]], spec: Spec | None) -> int | None:
    """How many trials of the spec fit at once on the machines that are up."""
    from orchestrator.sweep.session import fitting

    return fitting([node["Resources"] for node in nodes], spec.resources) if spec else None


def _tracking(spec: Spec, folder: SweepFolder) -> list[str]:
    """Whether MLflow can be reached from where the sweep's driver runs."""
    from orchestrator.tracking import TrackingError, see

    try:
        if spec.tracking.enabled:
            see(folder.path, spec.tracking)
    except (ValueError, TrackingError) as error:
        return [f"tracking: {error}; results are safe without it, and `jackpot sync` catches up"]
    return []


def unlike_here(rows: list[dict[str, Any]]) -> list[str]:
    """Whether the machines have another Jackpot than this one, which checks the spec and reads the results."""
    here = source_digest()[:12]
    there = {row["alike"][SOURCE] for row in rows if "error" not in row}
    if there <= {here}:
        return []
    return [
        f"{SOURCE} is {here} here and {', '.join(sorted(there))} on the cluster; bring this one there (`ray up` again "
        "does), or use that one here"
    ]


def problems(rows: list[dict[str, Any]], out: str) -> list[str]:
    """What is wrong with the machines, a line each with its remedy."""
    found = [
        f"{row['address']}: does not answer ({row['error']}); is Jackpot installed there?"
        for row in rows
        if "error" in row
    ]
    there = [row for row in rows if "error" not in row]
    found += [f"{row['address']}: storage: {row['storage']}" for row in there if row["storage"]]
    for row in there:
        if "marks" in row and row["marks"] < len(there):
            found.append(
                f"{row['address']}: sees what {row['marks']} of {len(there)} machines write to {out}; it must be one "
                "folder for all: mount it there under the same path, or use s3://"
            )
        elif row.get("locked_out") is False and not row["head"]:
            found.append(
                f"{row['address']}: locks in {out} do not reach from one machine to another, so that two would train "
                "the same; mount it with locks (NFS 4, no `nolock`), or use s3://"
            )
        if row["skew"] > SKEW_SECONDS:
            found.append(
                f"{row['address']}: its clock differs by {row['skew']:.0f} s; nothing is decided by it, but times in "
                "logs and MLflow will mislead: turn on NTP"
            )
        if not row["token"]:
            found.append(f"{row['address']}: Ray was started without RAY_AUTH_MODE=token; it takes orders from anyone")
        if row["driver_gpus"] is not None and row["driver_gpus"] < row["gpus"]:
            found.append(
                f"{row['address']}: Ray offers {row['gpus']:g} GPUs, and the driver sees {row['driver_gpus']}; mend "
                "it, or give `ray start` the right --num-gpus"
            )
        if row["data"] and "error" in row["data"]:
            found.append(f"{row['address']}: data: {row['data']['error']}; bring the data there, to the same path")
    return found + _different(there)


def _different(rows: list[dict[str, Any]]) -> list[str]:
    """What should be the same on all machines and is not."""
    found = []
    for what in rows[0]["alike"] if rows else ():
        by_value: dict[str, list[str]] = {}
        for row in rows:
            by_value.setdefault(row["alike"][what], []).append(row["address"])
        if len(by_value) > 1:
            each = "; ".join(f"{value} on {', '.join(where)}" for value, where in by_value.items())
            found.append(f"{what} differs ({each}); set the machines up alike")
    return found
