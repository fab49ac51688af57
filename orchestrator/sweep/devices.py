"""Which type of device a sweep's latencies are measured on, where its machines are not all alike, and measuring there.

A latency compares with another of the same device type alone. Ray knows a machine's type as a label; a trial that runs
on a machine of another type has its network measured on one of the sweep's type, while that machine's own work pauses.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import torch

from orchestrator.engine.bench import TrialBench
from orchestrator.engine.finding import folder_at
from orchestrator.engine.remote import PATIENCE, Remote
from orchestrator.engine.setting import Setting
from orchestrator.engine.trial import device_for
from orchestrator.engine.trials import Trial
from orchestrator.engine.watch import Stopped, Watch
from orchestrator.spec.models import Resources, Spec
from orchestrator.sweep.session import ClusterError, fitting

LABEL = "ray.io/accelerator-type"
LOOK_SECONDS = 0.5


def sweep_device(nodes: list[dict[str, Any]], each: Resources, wished: str | None, slots: int) -> str | None:
    """The device type that latencies are measured on: the one wished for, else the one that most trials fit on; None
    where all machines are alike. `nodes`: as Ray tells of them, those alive. Raises ClusterError where no machine is
    of the type wished for, and all that the sweep will have are there."""
    types: Counter[str] = Counter()
    for node in nodes:
        types[node.get("Labels", {}).get(LABEL, "")] += fitting([node["Resources"]], each)
    there = {kind: trials for kind, trials in types.items() if trials}
    if wished is not None:
        if wished not in there and sum(there.values()) >= slots:
            known = ", ".join(sorted(filter(None, there))) or "none"
            raise ClusterError(
                f"latency.device: no machine of the cluster that a trial fits on is labelled {LABEL}={wished}; "
                f"labelled so are: {known}"
            )
        return wished
    if len(there) < 2:
        return None
    return max(sorted(filter(None, there)), key=lambda kind: there[kind])


def device_of(spec: Spec, slots: int) -> str | None:
    """The device type that the latencies of a sweep are measured on in the Ray of this process; None where the machines
    are all alike, or nothing is measured. See `sweep_device`."""
    import ray

    if not spec.latency.enabled:
        return None
    nodes = [node for node in ray.nodes() if node["Alive"]]
    return sweep_device(nodes, spec.resources, spec.latency.device, slots)


def own_type() -> str:
    """The device type of the machine that this worker runs on; empty where Ray knows none."""
    import ray

    return str(ray.get_runtime_context().get_node_labels().get(LABEL, ""))


def elsewhere(
    device: str | None, address: str, spec: Spec, trial: Trial, watch: Watch
) -> Callable[[str, Sequence[str]], list[dict[str, Any]]] | None:
    """Measures the latency of a stage's weights, in the runtimes asked for, on a machine of the sweep's device type;
    None where this is one."""
    if device is None or device == own_type():
        return None

    def measure(stage: str, runtimes: Sequence[str]) -> list[dict[str, Any]]:
        import ray

        # DEFAULT: not in the placement group of this worker, which is on this machine
        there = {"num_cpus": 0, "label_selector": {LABEL: device}, "scheduling_strategy": "DEFAULT", "max_retries": 3}
        task = ray.remote(**there)(measured)
        asked = task.remote(address, spec, trial.to_json(), watch.run, stage, list(runtimes), os.getcwd())
        watch.tell({"stage": stage, "kind": "measure", "waiting": f"its latency on a machine with {device}"})
        while not ray.wait([asked], timeout=LOOK_SECONDS)[0]:
            if watch.stopping():
                ray.cancel(asked)
                raise Stopped
        return ray.get(asked)

    return measure


def measured(
    address: str, spec: Spec, trial: dict[str, Any], run: str, stage: str, runtimes: list[str], cwd: str
) -> list[dict[str, Any]]:
    """The records of a stage's network in these runtimes on this machine, alone on it, measured now or read from the
    sweep's store."""
    with contextlib.suppress(OSError):  # where a user's networks may lie
        os.chdir(cwd)
    torch.set_num_threads(spec.resources.cpu)
    Remote.patience = PATIENCE
    sweep, asked = folder_at(address), Trial.from_json(trial)
    setting = Setting(spec, asked.model)
    watch = Watch(trial=asked.id, run=run, stopping=lambda: sweep.stop_requested() is not None)
    bench = TrialBench(setting, asked.method_class, asked.seed, asked.sparsity, sweep.store, device_for(setting), watch)
    for runtime in runtimes:
        with contextlib.suppress(ValueError):  # what cannot run here has no claim either
            sweep.store.free(run, asked.id, bench.latencies.key(stage, runtime))  # an earlier try's, of a lost machine
    return bench.latencies.measured(stage, runtimes)
