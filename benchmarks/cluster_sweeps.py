"""A sweep on a rack of hosts, run by the real command from the head, and who is at work on it where."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hosts import Host, listens, until
from kills import JACKPOT, Sweep, write_plugin
from racks import RayRack

import orchestrator

SPEC = """
name: shaken
data: digits
model: convnet
recipe: {epochs: EPOCHS}
methods: [dense, random, snip, {name: lottery, fraction: 0.3}]
sparsities: [0.9, 0.95]
seeds: [0]
latency: {enabled: false}
failures: {stall_minutes: 1}
tracking: {uri: TRACKING, experiment: EXPERIMENT}
"""
"""7 trials, of which all but two wait for one dense training."""
WORKER = "ray::ResourceTrainable"
"""What the command line of a process that runs trials begins with."""
EPOCHS = 24
"""Of each training, so that a fault finds one at work."""
AHEAD = "CLOCK_AHEAD_SECONDS"
"""The variable of a host whose clock is wrong. Not by libfaketime, under which Python 3.11 cannot sleep."""
CLOCK = f"""
import os
import time

if ahead := float(os.environ.get({AHEAD!r}, 0)):
    right, right_ns = time.time, time.time_ns
    time.time = lambda: right() + ahead
    time.time_ns = lambda: right_ns() + int(ahead * 1e9)
"""
LONGEST = 300.0
"""Seconds that anything may take."""
MLFLOW, PORT = "mlflow", 5000
"""What the command lines of an MLflow server's processes hold, and where it listens."""


class ClusterSweep(Sweep):
    """The sweep NAME in the rack's shared folder. `seconds`: how long it suffers what passes; `seed`: of what is drawn
    in it."""

    longest = LONGEST

    def __init__(
        self, rack: SweepRack, name: str, epochs: int = EPOCHS, spec: str = SPEC, seconds: float = 60, seed: int = 7
    ) -> None:
        spec = spec.replace("TRACKING", rack.tracking).replace("EXPERIMENT", name)
        super().__init__(rack.shared / name / "sweep", epochs, spec)
        self.rack, self.epochs, self.seconds, self.draw = rack, epochs, seconds, random.Random(seed)
        self._said = rack.folder / f"{name}.txt"  # on another disk, which takes it always
        self.suffered: list[tuple[str, str]] = []
        """What was done to it, and where."""

    def go(self) -> None:
        """Run the command, for the first time or again."""
        self.process = self.start()

    @property
    def over(self) -> bool:
        """Whether the command has ended."""
        return self.process.poll() is not None

    def start(self) -> subprocess.Popen:
        """The command, on the head."""
        return self.head.start(
            JACKPOT, "run", self.path.parent / "shaken.yaml", "--out", self.path, "--address",
            f"{self.head.address}:6379", said=self._said,
        )  # fmt: skip

    @property
    def head(self) -> Host:
        """Where the driver runs."""
        return self.rack.head

    @property
    def said(self) -> str:
        """What the command has said."""
        return self._said.read_text(errors="replace")

    def catch_up(self) -> bool:
        """Where the command has said at its end that MLflow is behind, do what it says; whether it has."""
        behind = "`jackpot sync" in self.said.rpartition("browse: ")[2]
        if behind:
            self.head.run(JACKPOT, "sync", self.path)
        return behind

    def differences(self) -> list[str]:
        """How the runs in MLflow differ from the results on disk."""
        ask = "import json, sys; from pathlib import Path; from disturbed_sweeps import differences as found; "
        ask += "print(json.dumps(found(Path(sys.argv[1]), *sys.argv[2:])))"
        said = self.head.run(sys.executable, "-c", ask, self.path, self.rack.tracking, self.path.parent.name)
        return json.loads(said.splitlines()[-1])

    def last_events(self) -> dict[str, list[dict[str, Any]]]:
        """Running trial -> its events since it was begun, for those whose host has a worker."""
        found = {}
        for path in self.path.glob("trials/*"):
            events = self.folder.events(path.name)
            begun = max((i for i, event in enumerate(events) if "begin" in event), default=None)
            if begun is None or any("end" in event for event in events[begun:]):
                continue
            host = self.rack.hosts.get(events[begun]["host"])
            if host and host.alive and host.processes(WORKER):
                found[path.name] = events[begun:]
        return found

    def training(self) -> dict[str, Host]:
        """Trial -> the host that trains for it now."""
        running = self.last_events()
        return {
            trial: self.rack.hosts[events[0]["host"]] for trial, events in running.items() if "step" in events[-1]
            and not events[-1].get("waiting")
        }  # fmt: skip

    def waited_for(self) -> dict[str, Host]:
        """Like `training`, those alone that make a stage that another trial waits for."""
        running = self.last_events()
        wanted = {events[-1]["stage"] for events in running.values() if events[-1].get("waiting")}
        return {trial: host for trial, host in self.training().items() if running[trial][-1]["stage"] in wanted}


def wait_for(true: Callable[[], Any], what: str, seconds: float = LONGEST) -> Any:
    """Wait until something is true, and return it. Raises TimeoutError that says what did not come."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(0.1)
    return found


class SweepRack(RayRack):
    """A Ray for sweeps, and a host beside it with an MLflow server. Every process has this Jackpot, and the plugin of
    `Sweep` that has trainings checkpointed every second; Ray there takes a host for dead within ten seconds, not its
    usual minute."""

    def __init__(self, folder: Path, *names: str) -> None:
        shared = folder / "shared"
        self._plugin = shared / "plugin"
        ours = [str(self._plugin), str(Path(orchestrator.__file__).parents[1]), str(Path(__file__).parent)]
        soon = {"period_ms": "1000", "timeout_ms": "2000", "failure_threshold": "3", "initial_delay_ms": "1000"}
        health = {f"RAY_health_check_{name}": value for name, value in soon.items()}
        super().__init__(folder, shared, names, PYTHONPATH=os.pathsep.join(ours), **health)

    def furnish(self) -> None:
        """Put on the disk what every host needs of it."""
        super().furnish()
        write_plugin(self._plugin)
        (self._plugin / "sitecustomize.py").write_text(CLOCK)

    def heal(self) -> None:
        """What a launcher does, and whoever looks after the MLflow server."""
        super().heal()
        tracker = self.tracker
        if not tracker.processes(MLFLOW):
            tracker.start(
                sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", tracker.address, "--port",
                str(PORT), "--backend-store-uri", "sqlite:////tmp/mlflow.db", "--artifacts-destination",
                "/tmp/artifacts", said=tracker.folder / "mlflow.txt", MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
                MLFLOW_DISABLE_TELEMETRY="true",
            )  # fmt: skip
            until(lambda: listens(tracker, PORT), f"MLflow, see {tracker.folder}/mlflow.txt", LONGEST)

    @property
    def tracker(self) -> Host:
        """The host with the MLflow server; no host of Ray."""
        return self.hosts.get("tracker") or self.add(["tracker"])[0]

    @property
    def tracking(self) -> str:
        """The address of the MLflow server, in a host."""
        return f"http://{self.tracker.address}:{PORT}"
