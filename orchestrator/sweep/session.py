"""What a running sweep needs around it: a Ray to run on, and Ctrl-C as a request to stop."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from orchestrator.engine.pages import huge_pages
from orchestrator.spec.models import Resources
from orchestrator.sweep.tokens import NoAnswer, admits, make_token, own_state, token, token_file

CONNECT_SECONDS = 10.0
OF_AWS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN")
"""The credentials of whoever started the sweep: each machine has its own."""


class ClusterError(Exception):
    """The Ray cluster cannot be used; the message says why and what to do."""


@contextmanager
def interrupts(handler: Callable[[], None]) -> Iterator[None]:
    """Call `handler` on Ctrl-C and on SIGTERM instead of raising, where this is the main thread.

    It is called in a thread of its own: Python's signal handlers wait for the main thread, which may be for seconds
    inside Ray's own code."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def listen() -> None:
        while os.read(heard, 1):
            handler()

    heard, told = os.pipe()
    os.set_blocking(told, False)
    listener = threading.Thread(target=listen, name="interrupts", daemon=True)
    listener.start()
    signals = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, lambda *_: None) for number in signals}
    waker = signal.set_wakeup_fd(told)
    try:
        yield
    finally:
        signal.set_wakeup_fd(waker)
        for number, old in before.items():
            signal.signal(number, old)
        os.close(told)  # ends the listener
        listener.join()
        os.close(heard)


@contextmanager
def ray_session(address: str | None) -> Iterator[None]:
    """A Ray cluster: the one at `address`, the one this process is connected to, or one started here.
    Raises ClusterError where nothing is at the address."""
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"  # Tune says nothing: progress is ours
    os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # Ctrl-C is ours
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"  # results are our own files
    os.environ["TUNE_DISABLE_STRICT_METRIC_CHECKING"] = "1"  # a search's scheduler is about its proposals alone
    os.environ["TUNE_GLOBAL_CHECKPOINT_S"] = "1000000000"  # Tune's snapshots are never restored
    if address is None:
        # Ray's switch for systems whose firewall asks about every port: all of it then listens on loopback alone, and
        # not on every interface. Read when ray is imported.
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    else:
        _reach(address)
    import ray
    from ray.tune.execution import class_cache

    # Tune hands these of the driver's to every worker as its settings, which Ray writes into its logs and shows
    class_cache.ENV_VARS_TO_PROPAGATE.difference_update(OF_AWS)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # a worker's death is told in our own words
    if ray.is_initialized():
        yield
        return
    # Ray puts the current folder first on its workers' path, where a user's folder `methods` would hide ours
    with contextlib.chdir(sys.prefix):
        _connect(address)
    try:
        yield
    finally:
        _end_ray()


def _end_ray() -> None:
    """Leave Ray, or end the one that was started here. A reference to one of its objects that is freed meanwhile, as
    the garbage collector may do in any thread, makes Ray end this process with 1: so there is nothing left to free."""
    import ray

    gc.collect()
    gc.disable()
    try:
        ray.shutdown()
    finally:
        gc.enable()


def trial_slots(each: Resources, concurrency: int | None) -> int:
    """Trials at once: what the cluster's nodes hold, at most `concurrency`; that itself on a cluster whose nodes come
    because trials wait. Raises ClusterError for none."""
    import ray
    from ray.autoscaler.v2.utils import is_autoscaler_v2

    if concurrency is not None and is_autoscaler_v2(fetch_from_server=True):  # as `ray up` starts it
        return concurrency
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    fit = fitting(nodes, each)
    if fit == 0:
        there = ", ".join(f"{node.get('CPU', 0):g} CPU and {node.get('GPU', 0):g} GPU" for node in nodes)
        raise ClusterError(
            f"no trial fits: each asks for {each.cpu} CPU and {each.gpu:g} GPU, the cluster's nodes have {there}; "
            "lower `resources` in the spec, wait for nodes that are still joining (`jackpot cluster check` shows those "
            "that have), or set `concurrency` if nodes come as trials wait"
        )
    return min(fit, concurrency or fit)


def fitting(nodes: list[dict[str, float]], each: Resources) -> int:
    """How many trials nodes of these resources hold at once."""
    fit = 0  # node by node: no trial spans two
    for node in nodes:
        trials = node.get("CPU", 0) // each.cpu
        fit += int(min(trials, node.get("GPU", 0) // each.gpu) if each.gpu else trials)
    return fit


def _connect(address: str | None) -> None:
    """Start a Ray here, or join the one at an address."""
    import ray

    if address is None:
        try:
            make_token()
        except OSError as error:
            raise ClusterError(
                f"{error.filename}: Ray's token cannot be written there ({error.strerror}); set RAY_AUTH_TOKEN"
            ) from error
        os.environ.update(huge_pages())  # handed on to the workers; as a runtime environment it takes each 2 s more
        ray.init(address="local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
        return
    os.environ["RAY_OVERRIDE_JOB_RUNTIME_ENV"] = "1"  # the tunables of a job's own environment are among these
    try:
        ray.init(
            address=address, log_to_driver=False, logging_level=logging.ERROR, runtime_env={"env_vars": huge_pages()}
        )
    except (ConnectionError, RuntimeError, ValueError) as error:  # no Ray there, or of another version
        raise ClusterError(f"--address {address}: {error}") from error


def _reach(address: str) -> None:
    """See that a Ray head answers at an address and takes the token of this machine, for Ray itself tries for
    minutes."""
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if "/" in host or not host or not port.isdigit():
        raise ClusterError(
            f"--address {address}: expected HOST:PORT of a running Ray head, or `auto` for the one on this machine"
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"--address {address}: nothing listens there ({error}); start Ray there or mend the address"
        ) from error
    if os.environ.get("RAY_USE_TLS", "0").lower() not in ("1", "true"):  # whose certificates Ray itself knows
        _show_token(address)


def _show_token(address: str) -> None:
    """Have Ray show its token to a head that asks for one: by itself it does so only for a Ray of this machine."""
    try:
        if admits(address, ""):
            return
        if not token():
            raise ClusterError(
                f"--address {address}: the cluster asks for a token, and there is none here; set RAY_AUTH_TOKEN, "
                f"or write the cluster's (`ray get-auth-token` says it there) into {token_file()}"
            )
        if not admits(address, token()):
            raise ClusterError(
                f"--address {address}: the cluster refuses the token of this machine ({own_state()[0]}); `ray "
                "get-auth-token` says the right one there"
            )
    except NoAnswer as error:
        raise ClusterError(f"--address {address}: {error}; start Ray there or mend the address") from error
    os.environ["RAY_AUTH_MODE"] = "token"
    from ray import _raylet

    _raylet.Config.initialize("")  # type: ignore[attr-defined]  # has Ray read it again where a program imported Ray before
