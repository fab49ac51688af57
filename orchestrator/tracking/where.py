"""Where a sweep's runs are kept, and which sweep they belong to."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import re
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

from orchestrator.spec.models import Tracking
from orchestrator.spec.sharing import password_of, without_credentials

_SERVERS = ("http", "https")
_DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
_PORTS = {"postgresql": 5432, "mysql": 3306, "mssql": 1433}
_IDENTITY = re.compile("[0-9a-f]{32}")
CONNECT_SECONDS = 5.0


class TrackingError(Exception):
    """The runs cannot be written now; the message says why and what to do."""


def reason(error: Exception) -> str:
    """What went wrong, in a line."""
    # MLflow wraps what `requests` raises in a page of text
    cause = error.__context__
    if type(cause).__module__.startswith("requests"):
        kind = type(cause).__name__
        return f"the server {'answers with errors' if kind == 'RetryError' else 'does not answer'} ({kind})"
    return str(error).strip().split("\n")[0][:300] or type(error).__name__


def own_database(folder: Path) -> str:
    """The address of the database inside a sweep's folder, where runs go unless told otherwise."""
    path = str(Path(folder).resolve()).replace("%", "%25").replace("?", "%3F")  # what else means itself in a URI
    return f"sqlite:///{path}/mlflow.db"


def uri_of(folder: Path, tracking: Tracking) -> str:
    """The MLflow address of a sweep: the spec's `tracking.uri`, else MLFLOW_TRACKING_URI, else a sqlite
    database in the sweep's folder. A relative sqlite path starts where the command is run.

    Raises ValueError for an address that MLflow cannot keep runs at."""
    uri, source = tracking.uri, "tracking.uri"
    if uri is None:
        uri, source = os.environ.get("MLFLOW_TRACKING_URI", ""), "MLFLOW_TRACKING_URI"
        if not uri:
            return own_database(folder)
    scheme = uri.split(":", 1)[0].split("+", 1)[0].lower() if ":" in uri else ""
    if scheme not in (*_SERVERS, *_DATABASES):
        raise ValueError(
            f"{source}: {without_credentials(uri)!r} is no place MLflow keeps runs; expected "
            "http(s)://HOST:PORT, sqlite:///PATH.db, postgresql://, mysql:// or mssql:// "
            "(default: a database in the sweep's folder)"
        )
    if scheme == "sqlite":
        return "sqlite:///" + str(Path(uri.removeprefix("sqlite:///")).absolute())
    return _with_driver(uri)


def _with_driver(uri: str) -> str:
    """A database's address for the driver that is installed: without a word, SQLAlchemy takes psycopg alone."""
    plain = "postgresql://"
    if uri.startswith(plain) and not importlib.util.find_spec("psycopg") and importlib.util.find_spec("psycopg2"):
        return f"postgresql+psycopg2://{uri.removeprefix(plain)}"
    return uri


def discreet(text: str, uri: str) -> str:
    """A message without what an address in it says in secret."""
    text = text.replace(uri, without_credentials(uri))
    secret = password_of(uri)
    for word in filter(None, (secret, unquote(secret))):
        text = text.replace(word, "***")
    return text


def reachable(uri: str) -> None:
    """See that something listens where a database's server should be, for MLflow itself tries for minutes. Raises
    TrackingError where nothing does; says nothing of files and of tracking servers."""
    parts = urlsplit(without_credentials(uri))
    default = _PORTS.get(parts.scheme.split("+", 1)[0])
    if not parts.hostname or default is None:
        return  # or a server that is found in some way of the database's own
    port = parts.port or default
    try:
        socket.create_connection((parts.hostname, port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise TrackingError(f"the server does not answer ({error.strerror or type(error).__name__})") from error


def is_server(uri: str) -> bool:
    """Whether an address is a tracking server, rather than a database."""
    return uri.split(":", 1)[0].lower() in _SERVERS


def artifact_root(folder: Path, uri: str) -> Path | None:
    """The folder for tickets and logs: beside a sqlite database, in the sweep's folder for other
    databases; None where a server decides."""
    if is_server(uri):
        return None
    if uri.startswith("sqlite:///"):
        return Path(unquote(uri.removeprefix("sqlite:///"))).parent / "mlartifacts"
    return Path(folder).resolve() / "mlartifacts"


@contextmanager
def exclusive(folder: Path, patience: float) -> Iterator[str]:
    """Hold the one right to write a sweep's runs, and get the sweep's identity: 32 hex digits drawn once and
    kept in `tracking.id`, so that sweeps of one name on a shared server stay apart. The kernel gives the
    lock back when a process dies. Raises TrackingError if another process holds it for `patience` seconds."""
    file = os.open(folder / "tracking.id", os.O_CREAT | os.O_RDWR, 0o644)
    try:
        _lock(file, patience)
        identity = os.pread(file, 64, 0).decode(errors="replace").strip()
        if not _IDENTITY.fullmatch(identity):
            identity = uuid.uuid4().hex
            os.ftruncate(file, 0)
            os.pwrite(file, f"{identity}\n".encode(), 0)
        yield identity
    finally:
        os.close(file)


def identity_of(folder: Path) -> str | None:
    """The sweep's identity, if one was drawn."""
    try:
        identity = (folder / "tracking.id").read_text(encoding="utf-8", errors="replace").strip()
    except FileNotFoundError:
        return None
    return identity if _IDENTITY.fullmatch(identity) else None


def _lock(file: int, patience: float) -> None:
    deadline = time.monotonic() + patience
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise TrackingError("another process is writing the sweep's runs; try again when it is done") from None
            time.sleep(0.05)
