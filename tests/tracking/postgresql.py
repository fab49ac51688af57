"""A PostgreSQL of the tests' own: one cluster in a temporary folder, reachable from this machine alone."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

PROGRAMS = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name), default=None)
"""Where Debian's newest package `postgresql` lies; None where there is none."""
USER, PASSWORD = "jackpot", "Planted/pass:word@9%"
"""The database's user. The password needs escaping in an address, as real ones do."""


class Cluster:
    """A running cluster: give it a database's name for an address."""

    def __init__(self, port: int) -> None:
        self.port = port

    def uri(self, database: str, password: str | None = PASSWORD, scheme: str = "postgresql") -> str:
        """The address of a database, with or without the password."""
        secret = "" if password is None else f":{quote(password, safe='')}"
        return f"{scheme}://{USER}{secret}@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> None:
        """Make an empty database."""
        self.query("postgres", f'create database "{database}"')

    def query(self, database: str, question: str) -> list[tuple]:
        """The rows that a statement answers with, if it does."""
        import psycopg2

        connection = psycopg2.connect(self.uri(database))
        connection.autocommit = True
        with contextlib.closing(connection), connection.cursor() as cursor:
            cursor.execute(question)
            return cursor.fetchall() if cursor.description else []


@contextlib.contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """A cluster in an empty folder, ended on leaving. PostgreSQL refuses to run as root: then it is `nobody`'s."""
    assert PROGRAMS is not None
    secret = folder / "password"
    secret.write_text(PASSWORD)
    who: dict = {"env": {**os.environ, "HOME": str(folder), "LC_ALL": "C.UTF-8"}, "cwd": folder}
    if os.geteuid() == 0:
        who |= {"user": "nobody", "group": "nogroup", "extra_groups": ()}
        for path in (folder, secret):
            shutil.chown(path, "nobody", "nogroup")
        for above in folder.parents:  # pytest's own folders are its user's alone
            if above.stat().st_uid == 0 and not above.stat().st_mode & 0o001:
                above.chmod(above.stat().st_mode | 0o001)
    make = [PROGRAMS / "initdb", "-D", folder / "data", "-U", USER, f"--pwfile={secret}",
            "--auth=scram-sha-256", "--encoding=UTF8", "--no-sync"]  # fmt: skip
    subprocess.run(make, check=True, capture_output=True, **who)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    options = {"listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": folder, "fsync": "off"}
    command = [PROGRAMS / "postgres", "-D", folder / "data", *(f"--{name}={value}" for name, value in options.items())]
    with open(folder / "log", "wb") as log, subprocess.Popen(command, stdout=log, stderr=log, **who) as process:
        try:
            _await(port, process, folder / "log")
            yield Cluster(port)
        finally:
            process.send_signal(signal.SIGQUIT)  # at once, its own children included


def _await(port: int, process: subprocess.Popen, log: Path) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if "ready to accept connections" in log.read_text():
            return
        time.sleep(0.05)
    raise RuntimeError(f"PostgreSQL on port {port} does not start:\n{log.read_text()}")
