"""A Ray that cannot be used is said in one line, before anything is run."""

import hashlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from orchestrator.sweep.session import ClusterError, interrupts, ray_session, trial_slots


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_heard_while_the_main_thread_is_busy_in_c(number):
    heard = []
    before = signal.getsignal(number)
    with interrupts(lambda: heard.append(time.monotonic())):
        threading.Timer(0.1, os.kill, [os.getpid(), number]).start()
        began = time.monotonic()
        # as in Ray's own code: no handler of Python's runs until this is over
        hashlib.pbkdf2_hmac("sha256", b"", b"", 5_000_000)
        over = time.monotonic()
    assert len(heard) == 1
    assert heard[0] < (began + over) / 2
    assert signal.getsignal(number) is before
    assert "interrupts" not in {thread.name for thread in threading.enumerate()}


@pytest.mark.parametrize("address", ["nonsense", "ray://127.0.0.1:10001", "http://127.0.0.1:8265", ":6379", "here:"])
def test_what_is_no_address_of_a_ray_head_is_refused(address):
    with pytest.raises(ClusterError, match=re.escape(f"--address {address}: expected HOST:PORT")), ray_session(address):
        pass


def test_an_address_where_nothing_listens_is_named_at_once():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    message = rf"--address 127.0.0.1:{port}: nothing listens there .*; start Ray"
    with pytest.raises(ClusterError, match=message), ray_session(f"127.0.0.1:{port}"):
        pass


def test_resources_that_the_cluster_does_not_have_are_named(make_spec, monkeypatch):
    import ray
    from ray.autoscaler.v2 import utils

    monkeypatch.setattr(utils, "is_autoscaler_v2", lambda fetch_from_server: False)
    nodes = [{"CPU": 3.0, "GPU": 1.0}, {"CPU": 3.0}]
    monkeypatch.setattr(ray, "nodes", lambda: [{"Alive": True, "Resources": node} for node in nodes])
    # a trial runs on one node: of 3 and 3 CPUs there are 2 slots of 2
    for resources, fits in [({"cpu": 1}, 6), ({"cpu": 2}, 2), ({"gpu": 0.5}, 2), ({"cpu": 4}, 0)]:
        spec = make_spec(resources=resources)
        if fits:
            assert trial_slots(spec.resources, None) == fits
            assert trial_slots(spec.resources, 2) == 2
        else:
            there = "the cluster's nodes have 3 CPU and 1 GPU, 3 CPU and 0 GPU; lower `resources` in the spec"
            with pytest.raises(ClusterError, match=there):
                trial_slots(spec.resources, 2)
    monkeypatch.setattr(utils, "is_autoscaler_v2", lambda fetch_from_server: True)
    assert trial_slots(make_spec(resources={"gpu": 1}).resources, 30) == 30  # nodes come as they wait


FREED_LATE = """
import gc
from orchestrator.sweep.session import ray_session

class Late:  # Ray's own end, and another thread's garbage collection just then
    def __init__(self, worker):
        self.worker = worker
    def __getattr__(self, name):
        return getattr(self.worker, name)
    def shutdown_driver(self):
        self.worker.shutdown_driver()
        gc.collect()

with ray_session(None):
    import ray
    gc.disable()
    cycle = [ray.put(1)]
    cycle.append(cycle)
    del cycle
    worker = ray._private.worker.global_worker
    worker.core_worker = Late(worker.core_worker)
print("ended well")
"""


@pytest.mark.slow
def test_a_reference_that_is_freed_while_ray_ends_does_not_end_the_process(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", FREED_LATE],
        check=False,
        env={**os.environ, "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "ended well\n"), done.stderr


TOLD = """
import sys
from pathlib import Path
from orchestrator.sweep.session import ray_session

with ray_session(sys.argv[1] if len(sys.argv) > 1 else None):
    import ray
    started_with = lambda: Path("/proc/self/environ").read_text().split(chr(0))
    said = ray.get(ray.remote(num_cpus=0)(started_with).remote())
    tunables = [each for each in said if "glibc.malloc" in each]  # where glibc has read them, each by itself
    print(":".join(tunables), ray.get_runtime_context().gcs_address.rpartition(":")[2], flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
def test_workers_memory_lies_in_huge_pages(tmp_path):
    environment = {**os.environ, "HOME": str(tmp_path), "RAY_AUTH_MODE": "disabled"}
    environment["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # the joining one too looks for Ray on loopback
    environment.pop("GLIBC_TUNABLES", None)
    command, pipes = [sys.executable, "-c", TOLD], {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment, **pipes) as here:  # which ends with its input
        tunables, port = here.stdout.readline().split()
        assert tunables == "GLIBC_TUNABLES=glibc.malloc.hugetlb=1"
        # a cluster that somebody else has started, and a user's tunables
        environment["GLIBC_TUNABLES"] = "glibc.malloc.arena_max=2"
        with subprocess.Popen([*command, f"127.0.0.1:{port}"], env=environment, **pipes) as there:
            tunables, _ = there.stdout.readline().split()
            assert tunables == "GLIBC_TUNABLES=glibc.malloc.arena_max=2:glibc.malloc.hugetlb=1"
    assert (here.returncode, there.returncode) == (0, 0)
