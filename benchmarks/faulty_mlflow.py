"""An MLflow server that can be killed, made to fail, to be slow or to have no space, while a sweep runs."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FAULTS = ("nothing", "killed", "errors", "slow", "full")
"""What may be wrong with it: nothing; killed -9 and started again after a while; 500 as every answer; every answer 10 s
late, what was asked for is done nevertheless; no space for its database and artifacts."""
LATE_SECONDS = 10.0
_START_SECONDS = 120.0

# its own file system, which is filled and emptied on a word from outside: a file by that name
_ON_SMALL_DISK = """
mount -t tmpfs -o size=64m none disk || exit 99
"$@" &
while sleep 0.1; do
  if [ -e fill ]; then dd if=/dev/zero of=disk/ballast bs=64k 2>/dev/null; mv fill filled; fi
  if [ -e empty ]; then rm disk/ballast; mv empty emptied; fi
done
"""


class Server:
    """An MLflow server on a sqlite database of its own, artifacts included, below an empty folder."""

    def __init__(self, folder: Path, small: bool = False) -> None:
        self.folder, self.small = folder.absolute(), small
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        (self.folder / "disk").mkdir(parents=True)
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        """Start it, again if it was killed: the same port, the same database. Returns once it answers."""
        command = [
            sys.executable, "-m", "mlflow", "server", "--workers", "1", "--host", "127.0.0.1", "--port", str(self.port),
            "--backend-store-uri", f"sqlite:///{self.folder}/disk/mlflow.db",
            "--artifacts-destination", f"{self.folder}/disk/artifacts",
        ]  # fmt: skip
        if self.small:
            command = ["unshare", "-m", "sh", "-c", _ON_SMALL_DISK, "sh", *command]
        quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
        with open(self.folder / "said.txt", "ab") as said:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=os.environ | quiet, stdout=said, stderr=said, start_new_session=True
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"MLflow does not start:\n{(self.folder / 'said.txt').read_text()}")
            time.sleep(0.2)

    def _answers(self) -> bool:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5):
            return True
        return False

    def kill(self) -> None:
        """End it, and all it started, as `kill -9` does."""
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def tell(self, word: str) -> None:
        """Have its small disk changed: "fill" or "empty". Returns once that is done."""
        (self.folder / word).touch()
        while (self.folder / word).exists():
            time.sleep(0.05)


class Proxy:
    """What stands before a server: it hands requests on, unless it is told otherwise."""

    def __init__(self, port: int) -> None:
        self.to, self.fault = port, "nothing"
        """The server's port; one of FAULTS: only "errors" and "slow" are the proxy's."""
        self.wanted: str | None = None
        """The header `Authorization` without which a request is refused, if one is wanted."""
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                fault = proxy.fault
                if proxy.wanted and self.headers.get("Authorization") != proxy.wanted:
                    status, answer = 401, b"who are you?"
                elif fault == "errors":
                    status, answer = 500, b"no"
                else:
                    status, answer = proxy._ask(self, body)
                if fault == "slow":
                    time.sleep(LATE_SECONDS)
                with contextlib.suppress(ConnectionError):  # who asked may have gone
                    self.send_response(status)
                    self.send_header("Content-Length", str(len(answer)))
                    self.end_headers()
                    self.wfile.write(answer)

            do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.uri = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def _ask(self, asked: BaseHTTPRequestHandler, body: bytes) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.to, timeout=60)
        try:
            headers = {name: value for name, value in asked.headers.items() if name.lower() != "connection"}
            connection.request(asked.command, asked.path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        except OSError:
            return 502, b"the server is away"
        finally:
            connection.close()

    def close(self) -> None:
        """Take no more requests."""
        self._server.shutdown()
        self._server.server_close()


@contextlib.contextmanager
def faulty(folder: Path, small: bool = False) -> Iterator[tuple[Server, Proxy]]:
    """A running server and the proxy before it; both are ended on leaving."""
    server = Server(folder, small)
    try:
        server.start()
        proxy = Proxy(server.port)
        try:
            yield server, proxy
        finally:
            proxy.close()
    finally:
        server.kill()
