"""MLflow's pages on a sweep's runs, served on this machine for as long as they are looked at."""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from orchestrator.spec.models import Tracking
from orchestrator.spec.sharing import without_credentials
from orchestrator.tracking.links import Links
from orchestrator.tracking.tracker import Tracker
from orchestrator.tracking.where import TrackingError, artifact_root, discreet, is_server

FIRST_PORT, _PORTS = 5000, 100
_START_SECONDS = 90.0  # on a slow machine, imports alone take half a minute
_END_SECONDS = 5.0
_OUTPUT = "output"
# MLflow remembers the choice, but begins elsewhere, and its own links forget what ours ask for
_ELSEWHERE = "Where MLflow shows pages for language models, choose `Model training` above its menu on the left."


def serve(
    folder: Path, name: str, tracking: Tracking, say: Callable[[str], None],
    port: int | None = None, host: str = "127.0.0.1", allowed: Sequence[str] = (), status: str | None = None,
) -> None:  # fmt: skip
    """Bring the runs up to date, serve them, say the links to them, and return at Ctrl-C. Where the sweep is tracked on
    a server, only say the links.

    port: the one to listen on (default: the first free one from 5000). host: the address to listen on. allowed: the
    names under which others may ask for the pages, beside this machine's own. status: how the sweep stands, as
    `Tracker.sync` takes it.
    Raises TrackingError if the port is taken or the server does not start, ValueError as `Tracker` does."""
    tracker = Tracker(folder, name, tracking)
    if message := tracker.sync(status).message:
        say(message)
    if is_server(tracker.uri):
        _say_links(tracker, without_credentials(tracker.uri), say)
        return
    with _interruptible(), contextlib.suppress(KeyboardInterrupt):
        with server(tracker.uri, artifact_root(folder, tracker.uri), host, port, allowed) as (base, process):
            _say_links(tracker, as_asked_for(base, host, allowed), say)
            say("Ctrl-C ends it.")
            while (ended := _exit_status(process)) is None:
                time.sleep(0.2)
        raise TrackingError(f"the MLflow server ended by itself with status {ended}")


def is_loopback(host: str) -> bool:
    """Whether an address to listen on can be reached from this machine alone."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def as_asked_for(base: str, host: str, allowed: Sequence[str]) -> str:
    """A server's address as others may ask for it: 0.0.0.0 is listened on, but nobody's name."""
    if is_loopback(host) or not allowed:
        return base
    return f"http://{allowed[0]}:{base.rpartition(':')[2]}"


def _say_links(tracker: Tracker, base: str, say: Callable[[str], None]) -> None:
    """Say where in MLflow's pages a sweep is found, an address a line, as a terminal can open it."""
    window = tracker.window
    if window is None:
        say(f"MLflow: {base}")
        return
    for what, link in Links(base, window.runs, window.parent.info.run_id).all():
        say(f"{what}:\n  {link}")
    say(_ELSEWHERE)


def free_port(host: str, port: int | None) -> int:
    """The given port if it is free, or the first free one from 5000. Raises TrackingError if it is taken."""
    for candidate in [port] if port is not None else range(FIRST_PORT, FIRST_PORT + _PORTS):
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind((host, candidate))
                return candidate
    ports = port if port is not None else f"{FIRST_PORT} to {FIRST_PORT + _PORTS - 1}"
    raise TrackingError(f"cannot listen on {host}, port {ports}: in use or not allowed; choose another port")


@contextlib.contextmanager
def server(
    uri: str, root: Path | None, host: str, port: int | None, allowed: Sequence[str] = ()
) -> Iterator[tuple[str, subprocess.Popen]]:
    """An MLflow server on a database, as a child process: its address once it listens, and the process.
    It and all it started are ended on leaving. port: as `free_port` takes it. allowed: as `serve` does.
    Raises TrackingError if the port is taken or the server does not start."""
    # in a scratch folder, where a server leaves what it makes in the working directory
    with tempfile.TemporaryDirectory() as scratch:
        while True:
            chosen = free_port(host, port)
            process = _start(uri, root, host, chosen, Path(scratch), allowed)
            try:
                if _listens(process, Path(scratch), retry=port is None):
                    yield (f"http://[{host}]:{chosen}" if ":" in host else f"http://{host}:{chosen}"), process
                    return
            except TrackingError as error:
                raise TrackingError(discreet(str(error), uri)) from None  # the server may have said its address
            finally:
                _end(process)


def _start(
    uri: str, root: Path | None, host: str, port: int, scratch: Path, allowed: Sequence[str]
) -> subprocess.Popen:
    # one worker and no job processes: 0.4 GB instead of 1.6, and none is left behind
    options = {"--workers": "1", "--host": host, "--port": str(port)}
    if allowed:
        # a browser names the port as well
        names = [*allowed, "localhost", "127.0.0.1", "[::1]"]
        options["--allowed-hosts"] = ",".join(f"{name},{name}:{port}" for name in names)
        # the pages ask by POST, which MLflow refuses from any origin but this machine's own unless told
        options["--cors-allowed-origins"] = ",".join(
            origin for name in allowed for origin in (f"http://{name}:{port}", f"http://{name}", f"https://{name}")
        )
    if root:
        options["--default-artifact-root"] = root.as_uri()
    settings = {
        "MLFLOW_BACKEND_STORE_URI": uri,  # not an argument, for it may hold a password
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    with open(scratch / _OUTPUT, "wb") as output:
        return subprocess.Popen(
            [sys.executable, "-m", "mlflow", "server", *itertools.chain.from_iterable(options.items())],
            env=os.environ | settings, cwd=scratch, stdin=subprocess.DEVNULL,
            stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip


def _listens(process: subprocess.Popen, scratch: Path, retry: bool) -> bool:
    """Wait until a server listens. False if another program took its port meanwhile, and `retry` allows that.

    It is the server's own word that counts: an answer on the port could come from that other program, which may
    well be an MLflow server too."""
    deadline = time.monotonic() + _START_SECONDS
    while True:
        status = _exit_status(process)
        said = (scratch / _OUTPUT).read_text(encoding="utf-8", errors="replace")
        if status is None and "Uvicorn running on" in said:
            return True
        if status is not None and retry and "address already in use" in said:
            return False
        if status is not None or time.monotonic() > deadline:
            why = "does not answer" if status is None else f"ended with status {status}"
            raise TrackingError("\n".join([f"the MLflow server {why}. It said:", *said.strip().splitlines()[-15:]]))
        time.sleep(0.2)


def _exit_status(process: subprocess.Popen) -> int | None:
    """How a process ended, or None while it runs. It is not reaped: until `_end`, no other process can get
    its number, and with it our signals."""
    ended = os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return ended.si_status if ended else None


def _end(process: subprocess.Popen) -> None:
    """End the process group that the server leads, politely first."""
    os.killpg(process.pid, signal.SIGTERM)
    deadline = time.monotonic() + _END_SECONDS
    while _exit_status(process) is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM and a closed terminal end the block as Ctrl-C does, so that no server is left running; and Ctrl-C
    itself, which a script's background process begins by ignoring."""
    signs = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = [signal.signal(sign, interrupt) for sign in signs]
    try:
        yield
    finally:
        for sign, handler in zip(signs, before, strict=True):
            signal.signal(sign, handler)
