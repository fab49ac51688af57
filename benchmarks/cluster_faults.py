"""What happens to the hosts of a cluster, as one table: each fault is done to a sweep that is at work, and undone.

What a fault has ended on a host, the launcher starts again (`RayRack.heal`); what it has done to the driver, whoever
runs the command.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable

from cluster_sweeps import AHEAD, MLFLOW, PORT, WORKER, ClusterSweep, wait_for
from hosts import Host, listens

from orchestrator.engine.stragglers import stragglers

NOTICE_SECONDS = 2.0
"""Between a spot host's notice and its end; clouds give 30 to 120."""
PULSE_SECONDS = 0.05
"""How long the processes of a host that is slow by ten run in one go; ten times as long pass till the next."""


class TooLate(Exception):
    """The sweep has ended before the fault could begin."""


def _drawn(sweep: ClusterSweep, among: Callable[[], dict[str, Host]], what: str) -> tuple[str, Host]:
    """One of those that there are, once there are any. Raises TooLate."""
    found = wait_for(lambda: among() or sweep.over, what)
    if found is True:
        raise TooLate
    name = sweep.draw.choice(sorted(found))
    return name, found[name]


def _at_work(sweep: ClusterSweep) -> Host:
    """A host that trains, drawn."""
    return _drawn(sweep, sweep.training, "a trial in training")[1]


def worker_killed(sweep: ClusterSweep) -> str:
    """kill -9 of the process that runs a trial, as the kernel does that is out of memory."""
    host = _at_work(sweep)
    host.signal(signal.SIGKILL, WORKER)
    return host.name


def worker_hangs(sweep: ClusterSweep) -> str:
    """The process that runs a trial stands still, alive."""
    host = _at_work(sweep)
    stopped = host.signal(signal.SIGSTOP, WORKER)
    wait_for(lambda: not set(stopped) & set(host.processes(WORKER)), f"the hanging worker on {host.name} to be ended")
    return host.name


def trial_poisoned(sweep: ClusterSweep) -> str:
    """Whatever process trains for one trial is killed, until the trial is given up. The others go on to their ends;
    then the command is run again, without the poison. Raises RuntimeError where another trial failed of itself."""
    trial, _ = _drawn(sweep, sweep.training, "a trial in training")
    before = sweep.folder.result(trial)  # of an earlier poison

    def given_up() -> bool:
        if host := sweep.training().get(trial):
            host.signal(signal.SIGKILL, WORKER)
        return sweep.folder.result(trial) != before

    wait_for(given_up, f"{trial} to be given up")
    wait_for(lambda: sweep.over, "the other trials' ends")
    result = sweep.folder.result(trial) or {"status": "missing"}
    ended = {path.name: sweep.folder.result(path.name) for path in sweep.path.glob("trials/*")}
    others = {name: each and each["status"] for name, each in ended.items()
              if name != trial and not (each and each["blocked_by"] == trial)}  # fmt: skip
    if result["status"] != "failed" or {*others.values()} != {"done"}:
        raise RuntimeError(f"poisoned: {trial}, which is {result['status']}; the others: {others}")
    sweep.go()
    return trial


def raylet_killed(sweep: ClusterSweep) -> str:
    """kill -9 of a host's raylet; what it has started ends itself."""
    host = _at_work(sweep)
    host.signal(signal.SIGKILL, "raylet/raylet")
    return host.name


def host_gone(sweep: ClusterSweep) -> str:
    """A host is switched off, without a word."""
    host = _at_work(sweep)
    host.kill()
    return host.name


def host_slow(sweep: ClusterSweep) -> str:
    """The processes that run trials on a host get a tenth of the time, until `jackpot status` names the host."""
    host = _drawn(sweep, lambda: _paced(sweep), "two hosts that train")[1]

    def named() -> bool:
        stopped = host.signal(signal.SIGSTOP, WORKER)
        time.sleep(9 * PULSE_SECONDS)
        for process in stopped:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGCONT)
        return sweep.over or host.name in {slow["host"] for slow in stragglers(sweep.events())}

    wait_for(named, f"{host.name} to be named as slow")
    if sweep.over:
        raise TooLate
    return host.name


def _paced(sweep: ClusterSweep) -> dict[str, Host]:
    """The hosts that train, by their names, if they are two or more."""
    found = {host.name: host for host in sweep.training().values()}
    return found if len(found) > 1 else {}


def spot_notice(sweep: ClusterSweep) -> str:
    """A host's processes are told to end, and soon after it is switched off."""
    host = _at_work(sweep)
    host.signal(signal.SIGTERM)
    time.sleep(NOTICE_SECONDS)
    host.kill()
    return host.name


def cut_off(sweep: ClusterSweep) -> str:
    """A host is off the network for a while; it goes on computing, and its storage is still there."""
    return _cut(sweep, _at_work(sweep))


def cut_off_while_waited_for(sweep: ClusterSweep) -> str:
    """The same of a host that makes a stage which another trial waits for."""
    return _cut(sweep, _drawn(sweep, sweep.waited_for, "a stage that a trial waits for")[1])


def _cut(sweep: ClusterSweep, host: Host) -> str:
    host.cut()
    time.sleep(sweep.seconds)
    host.mend()
    return host.name


def driver_killed(sweep: ClusterSweep) -> str:
    """kill -9 of the command; it is run again."""
    _at_work(sweep)
    sweep.head.signal(signal.SIGKILL, " run ")
    sweep.process.wait()
    sweep.go()
    return "head"


def head_restarted(sweep: ClusterSweep) -> str:
    """The head is switched off, with the driver and Ray's own state; it is switched on, and the command run again."""
    _at_work(sweep)
    sweep.head.kill()
    sweep.process.wait()
    for worker in sweep.rack.workers:
        worker.signal(signal.SIGKILL, "ray start")  # what a launcher does; their trials end when they notice
        worker.signal(signal.SIGKILL, "raylet/raylet")
    sweep.rack.heal()
    sweep.go()
    return "head"


def clock_wrong(sweep: ClusterSweep) -> str:
    """A host comes back with its clock an hour ahead, for all that is Python in it."""
    host = _at_work(sweep)
    host.kill()
    host.boot()
    host.variables[AHEAD] = "3600"
    return host.name


def stage_damaged(sweep: ClusterSweep) -> str:
    """A bit of a finished training, of which others are to be trained, changes on the disk."""
    return _damage(sweep, lambda content: content[:-1] + bytes([content[-1] ^ 1]))


def stage_cut_short(sweep: ClusterSweep) -> str:
    """The same, with the second half of the file gone."""
    return _damage(sweep, lambda content: content[: len(content) // 2])


def _damage(sweep: ClusterSweep, change: Callable[[bytes], bytes]) -> str:
    def made() -> list[str]:
        store = sweep.folder.store
        return [key for key in store.stages() if (store.meta(key) or {}).get("kind") == "train"]

    key = sweep.draw.choice(wait_for(made, "a finished training"))
    data = sweep.folder.store.path(key) / "data.safetensors"
    data.write_bytes(change(data.read_bytes()))
    return key[:12]


def storage_read_only(sweep: ClusterSweep) -> str:
    """The shared folder takes nothing from any host for a while."""
    _at_work(sweep)
    hosts = [host for host in sweep.rack.hosts.values() if host.alive]
    for host in hosts:
        host.read_only()
    time.sleep(sweep.seconds)
    for host in hosts:
        host.writable()
    return "all"


def storage_full(sweep: ClusterSweep) -> str:
    """The shared folder has no space for a while."""
    _at_work(sweep)
    sweep.rack.fill(sweep.seconds)
    return "all"


def tracking_gone(sweep: ClusterSweep) -> str:
    """kill -9 of the MLflow server, which stays away for a while."""
    _at_work(sweep)
    sweep.rack.tracker.signal(signal.SIGKILL, MLFLOW)
    wait_for(lambda: not listens(sweep.rack.tracker, PORT), "MLflow to be gone", 10)
    time.sleep(sweep.seconds)
    return sweep.rack.tracker.name


Fault = Callable[[ClusterSweep], str]
FAULTS: dict[str, Fault] = {
    "worker killed": worker_killed,
    "worker hangs": worker_hangs,
    "trial poisoned": trial_poisoned,
    "raylet killed": raylet_killed,
    "host gone": host_gone,
    "host slow": host_slow,
    "spot notice": spot_notice,
    "cut off": cut_off,
    "cut off while waited for": cut_off_while_waited_for,
    "clock wrong": clock_wrong,
    "stage damaged": stage_damaged,
    "stage cut short": stage_cut_short,
    "storage read-only": storage_read_only,
    "storage full": storage_full,
    "tracking gone": tracking_gone,
    "driver killed": driver_killed,
    "head restarted": head_restarted,
}
"""Name -> what does it to a sweep and undoes what only it can undo; returns where."""
