from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_sweeps import add, assert_complete

from orchestrator.spec.models import Tracking
from orchestrator.tracking import ui
from orchestrator.tracking.follower import Follower
from orchestrator.tracking.tracker import Tracker
from orchestrator.tracking.ui import free_port, serve, server
from orchestrator.tracking.where import TrackingError

Make = Callable[..., Path]


def test_a_taken_port_is_named_and_the_next_one_found() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(TrackingError, match=rf"port {port}: in use"):
            free_port("127.0.0.1", port)
    assert 5000 <= free_port("127.0.0.1", None) < 5100


@pytest.mark.slow
def test_a_server_that_cannot_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(TrackingError, match="ended with status"), server("nowhere://", None, "127.0.0.1", 1):
        pass


def _some_port() -> int:
    """A port of the kernel's choice: other tests that run now get others."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


@pytest.mark.slow
def test_only_the_allowed_names_are_answered_also_where_a_port_was_taken_meanwhile(
    empty_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that another site made up, or one that a name of another's leads here, gets nothing and deletes
    nothing. One server for both, for starting one takes half a minute."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        choices = iter([taken, _some_port()])
        monkeypatch.setattr(ui, "free_port", lambda *_: next(choices))
        with server(f"sqlite:///{empty_database}", None, "127.0.0.1", None, ["head-node"]) as (base, process):
            port = base.rpartition(":")[2]
            assert int(port) != taken, "what answers there is not taken for the server"
            assert process.poll() is None
            for host, status in ((f"head-node:{port}", 200), ("head-node", 200), (f"evil.example:{port}", 403)):
                assert _status(f"{base}/", {"Host": host}) == status, host
            asked, body = f"{base}/ajax-api/2.0/mlflow/runs/search", b'{"experiment_ids": ["0"]}'
            for origin, status in ((f"http://head-node:{port}", 200), (f"http://evil.example:{port}", 403)):
                headers = {"Host": f"head-node:{port}", "Origin": origin, "Content-Type": "application/json"}
                assert _status(asked, headers, body) == status, origin


def _status(address: str, headers: dict[str, str], body: bytes | None = None) -> int:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, body, headers)) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize(
    ("host", "allowed", "shown"),
    [
        ("0.0.0.0", ["head-node", "10.0.0.7"], "http://head-node:5001"),
        ("127.0.0.1", ["head-node"], "http://127.0.0.1:5001"),
        ("192.168.1.7", [], "http://192.168.1.7:5001"),
        ("::", ["[fd00::7]"], "http://[fd00::7]:5001"),
    ],
)
def test_links_are_under_a_name_that_can_be_asked_for(host: str, allowed: list[str], shown: str) -> None:
    base = f"http://[{host}]:5001" if ":" in host else f"http://{host}:5001"
    assert ui.as_asked_for(base, host, allowed) == shown


@pytest.mark.slow
def test_a_server_that_was_down_is_caught_up_with(make_sweep: Make, empty_database: Path, tmp_path: Path) -> None:
    folder, said = make_sweep(2), []
    add(folder, "failed", "failed")
    port = _some_port()
    tracking = Tracking(uri=f"http://127.0.0.1:{port}")
    follower = Follower(folder, "tiny", tracking, said.append, interval=0.1)
    shutil.copy(empty_database, tmp_path / "server.db")
    with server(f"sqlite:///{tmp_path}/server.db", None, "127.0.0.1", port) as (base, _):
        assert len(said) == 1
        assert follower.close(30) is None
        assert_complete(folder, base)
        add(folder, "failed", "done", attempts=2)
        tracker = Tracker(folder, "tiny", tracking)
        assert tracker.sync().logged == ["failed"]
        assert Tracker(folder, "tiny", tracking).sync().logged == []
        assert_complete(folder, base)
        links: list[str] = []
        serve(folder, "tiny", tracking, links.append)
        assert links[0].startswith(f"the sweep:\n  {base}/#/experiments/")


@pytest.mark.slow
def test_serving_a_sweep_until_interrupted(make_sweep: Make) -> None:
    folder = make_sweep(1)
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"  # as in the background of a script
        "import sys; from pathlib import Path; from orchestrator.tracking.ui import serve\n"
        "from orchestrator.spec.models import Tracking\n"
        "serve(Path(sys.argv[1]), 'tiny', Tracking(), lambda line: print(line, flush=True))"
    )
    command = [sys.executable, "-c", program, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "the sweep:\n"
            base, run = process.stdout.readline().strip().partition("?")[0].split("/#/")
            before = _children(process.pid)
            with urllib.request.urlopen(f"{base}/get-artifact?path=spec.yaml&run_uuid={run.split('/')[-1]}") as answer:
                assert answer.read() == b"name: tiny\n"
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 0
        finally:
            process.kill()
    assert len(before) >= 1
    assert not [pid for pid in before if Path(f"/proc/{pid}").exists()]


def _children(pid: int) -> list[int]:
    """All processes below one, by the kernel's list."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # ended meanwhile
                fields = Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()
                parents[int(entry)] = int(fields[1])
    found = [pid]
    for parent in found:
        found += [child for child, its in parents.items() if its == parent]
    return found[1:]
