from __future__ import annotations

import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from fake_sweeps import add, assert_complete, runs

from orchestrator.spec.models import Tracking
from orchestrator.tracking.follower import Follower
from orchestrator.tracking.tracker import Tracker
from orchestrator.tracking.where import own_database
from orchestrator.tracking.window import Window

Make = Callable[..., Path]


def wait_until(true: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_results_appear_while_the_sweep_runs(make_sweep: Make) -> None:
    folder, said = make_sweep(1), []
    uri = own_database(folder)
    follower = Follower(folder, "tiny", Tracking(), said.append, interval=0.05)
    wait_until(lambda: len(runs(uri)) == 1)
    wait_until(lambda: runs(uri, "sweep")["tiny"][0].info.status == "RUNNING")
    add(folder, "second")
    wait_until(lambda: len(runs(uri)) == 2)
    add(folder, "third")
    assert follower.close(20, "KILLED") is None
    assert said == []
    assert_complete(folder, uri)
    assert runs(uri, "sweep")["tiny"][0].info.status == "KILLED"


def test_a_sweep_taken_up_again_runs_again(make_sweep: Make) -> None:
    folder = make_sweep(1)
    uri = own_database(folder)
    Tracker(folder, "tiny", Tracking()).sync(status="FAILED")
    follower = Follower(folder, "tiny", Tracking(), print, interval=0.05)
    wait_until(lambda: runs(uri, "sweep")["tiny"][0].info.status == "RUNNING")
    assert follower.close(20) is None
    assert runs(uri, "sweep")["tiny"][0].info.status == "FINISHED"


def test_an_impossible_address_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"tracking\.uri"):
        Follower(tmp_path, "tiny", Tracking(uri="mlruns"), print)


class Sick(BaseHTTPRequestHandler):
    """Answers 500 to whatever is asked."""

    def do_GET(self) -> None:
        self.send_response(500)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def sick_server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Sick) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def mute_server() -> Iterator[str]:
    """Takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def interruptible() -> Iterator[None]:
    """SIGINT raises KeyboardInterrupt, also where it is ignored: in the background of a script."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def no_server() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize("kind", ["sick_server", "mute_server", "no_server"])
def test_a_bad_server_costs_the_driver_nothing(
    kind: str, make_sweep: Make, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    uri, said = request.getfixturevalue(kind), []
    start = time.monotonic()
    follower = Follower(make_sweep(3), "tiny", Tracking(uri=uri), said.append, interval=0.05)
    assert time.monotonic() - start < 0.5
    wait_until(lambda: bool(said))
    time.sleep(1.5)  # long enough for further tries
    start = time.monotonic()
    message = follower.close(3)
    assert time.monotonic() - start < 3.5
    assert uri in (message or "")
    assert ("answers with errors" if kind == "sick_server" else "does not answer") in (message or "")
    assert "/tiny` catches up" in (message or "")
    assert len(said) == 1


def test_closing_does_not_wait_for_a_call_that_hangs(mute_server: str, make_sweep: Make) -> None:
    follower = Follower(make_sweep(1), "tiny", Tracking(uri=mute_server), print)
    time.sleep(0.5)
    start = time.monotonic()
    assert "not done within 0.3 s" in (follower.close(0.3) or "")
    assert time.monotonic() - start < 1


def test_a_pass_that_is_not_waited_for_ends_after_the_trial_it_is_at(
    make_sweep: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, before, begun, go_on = make_sweep(3), Window.record, threading.Event(), threading.Event()

    def record(*args: Any) -> bool:
        begun.set()
        go_on.wait(60)
        return before(*args)

    monkeypatch.setattr(Window, "record", record)
    follower = Follower(folder, "tiny", Tracking(), print, interval=0.05)
    assert begun.wait(60)
    assert "is behind: not done within 0.3 s" in (follower.close(0.3) or "")
    go_on.set()
    wait_until(lambda: not follower._thread.is_alive())
    assert len(runs(own_database(folder))) == 1
    assert Tracker(folder, "tiny", Tracking()).sync().message is None  # what `jackpot sync` does
    assert_complete(folder, own_database(folder))


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_ends_the_wait_for_a_server_that_hangs(
    mute_server: str, make_sweep: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("orchestrator.tracking.follower._QUIET_WAIT", 0.5)
    said: list[str] = []

    def say(line: str) -> None:
        said.append(line)
        signal.raise_signal(signal.SIGINT)  # as a user does who has read that line

    follower = Follower(make_sweep(1), "tiny", Tracking(uri=mute_server), say)
    start = time.monotonic()
    assert "is behind: interrupted. Results are safe; `jackpot sync" in (follower.close(60) or "")
    assert time.monotonic() - start < 8  # of the 60
    assert said == ["all trials have ended; waiting up to 60 s for MLflow (Ctrl-C: do not wait)"]
