"""A sweep on a rack of hosts, run by the real command from the head, and who is at work on it where."""

from __future__ import annotations

import os
import random
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hosts import Host, RayRack
from kills import JACKPOT, Sweep, write_plugin

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
"""
"""7 trials, of which all but two wait for one dense training."""
WORKER = "ray::ResourceTrainable"
"""What the command line of a process that runs trials begins with."""
EPOCHS = 40
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


class ClusterSweep(Sweep):
    """The sweep NAME in the rack's shared folder. `seconds`: how long it suffers what passes; `seed`: of what is drawn
    in it."""

    longest = LONGEST

    def __init__(
        self, rack: RayRack, name: str, epochs: int = EPOCHS, spec: str = SPEC, seconds: float = 60, seed: int = 7
    ) -> None:
        super().__init__(rack.shared / name / "sweep", epochs, spec)
        self.rack, self.seconds, self.draw = rack, seconds, random.Random(seed)
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
            f"{self.head.address}:6379", said=self.path.parent / "said.txt",
        )  # fmt: skip

    @property
    def head(self) -> Host:
        """Where the driver runs."""
        return self.rack.head

    @property
    def said(self) -> str:
        """What the command has said."""
        return (self.path.parent / "said.txt").read_text(errors="replace")

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


def rack_of(folder: Path, *names: str, cpus: int = 1) -> RayRack:
    """A rack whose processes have this Jackpot, and the plugin of `Sweep` that has trainings checkpointed every second;
    Ray there takes a host for dead within ten seconds, not its usual minute."""
    shared = folder / "shared"
    write_plugin(shared / "plugin")
    (shared / "plugin" / "sitecustomize.py").write_text(CLOCK)
    ours = [str(shared / "plugin"), str(Path(orchestrator.__file__).parents[1])]
    soon = {"period_ms": "1000", "timeout_ms": "2000", "failure_threshold": "3", "initial_delay_ms": "1000"}
    health = {f"RAY_health_check_{name}": value for name, value in soon.items()}
    return RayRack(folder, shared, names, cpus, PYTHONPATH=os.pathsep.join(ours), **health)
