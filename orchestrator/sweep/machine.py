"""What one machine of a cluster says of itself, for `jackpot cluster check`: run there as a task."""

from __future__ import annotations

import hashlib
import importlib
import os
import platform
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orchestrator.engine.files import digest, write_text
from orchestrator.engine.finding import folder_at
from orchestrator.engine.folder import FolderError, SweepFolder
from orchestrator.engine.remote import Remote
from orchestrator.engine.remote_folder import RemoteFolder

PACKAGES = ("orchestrator", "methods", "search_spaces")
SOURCE = "Jackpot's source"
_MANY = 20_000


def look_around(out: str, data: str | None, nonce: str) -> dict[str, Any]:
    """What this machine has, whether the sweep's folder can be written from it, and what it sees of the data."""
    found: dict[str, Any] = {
        "host": socket.gethostname(),
        "alike": {
            **{name: str(importlib.import_module(name.lower()).__version__) for name in ("Ray", "torch")},
            "Python": platform.python_version(),
            SOURCE: source_digest()[:12],
        },
        "token": os.environ.get("RAY_AUTH_MODE", "").lower() == "token",
        "driver_gpus": _gpus(),
        "data": listing(data) if data else None,
        "storage": "",
    }
    if found["data"] and "error" not in found["data"]:
        found["alike"]["the data"] = f"{found['data']['files']} files, {found['data']['digest'][:12]}"
    folder = folder_at(out)
    try:
        folder.prepare()
        _mark(folder, nonce, uuid.uuid4().hex)
    except (FolderError, OSError) as error:
        found["storage"] = str(error)
    return {**found, "time": time.time()}


def see_others(out: str, nonce: str) -> dict[str, Any]:
    """How many machines' marks this one sees, and whether the head's claim of a stage keeps it out."""
    folder = folder_at(out)
    with folder.store.claim(f"check-{nonce}") as mine:
        return {"marks": _marks(folder, nonce), "locked_out": not mine, "time": time.time()}


def source_digest() -> str:
    """SHA-256 of Jackpot's own source, as it is installed here."""
    whole = hashlib.sha256()
    for package in PACKAGES:
        (folder,) = importlib.import_module(package).__path__
        for path in sorted(Path(folder).rglob("*.py")):
            whole.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return whole.hexdigest()


def listing(data: str) -> dict[str, Any]:
    """How many files lie below a folder (no more than some thousands are looked at), and a hash of their names and
    sizes."""
    whole, count = hashlib.sha256(), 0
    try:
        if "://" in data:
            there = Remote(data).objects()
            return {"files": len(there), "digest": digest(sorted(there))}
        root = Path(data).expanduser()
        for path in _files(root):
            whole.update(f"{path.relative_to(root)} {path.stat().st_size}\n".encode())
            count += 1
            if count == _MANY:
                break
    except OSError as error:
        return {"error": f"{error.filename}: {error.strerror}", "files": count}
    return {"files": count, "digest": whole.hexdigest()}


def _files(root: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        raise error

    for folder, folders, files in os.walk(root, onerror=refuse):
        folders.sort()
        yield from (Path(folder, name) for name in sorted(files))


def _gpus() -> int | None:
    """GPUs that the driver sees; None without a driver."""
    if shutil.which("nvidia-smi") is None:
        return None
    done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False, timeout=60)
    return sum(line.startswith("GPU ") for line in done.stdout.splitlines())


def _mark(folder: SweepFolder, nonce: str, name: str) -> None:
    if isinstance(folder, RemoteFolder):
        folder.remote.put(f".check-{nonce}/{name}", b"")
    else:
        write_text(folder.path / f".check-{nonce}" / name, "")


def _marks(folder: SweepFolder, nonce: str) -> int:
    if isinstance(folder, RemoteFolder):
        return len(folder.remote.objects(f".check-{nonce}"))
    return len(list((folder.path / f".check-{nonce}").glob("*")))


def sweep_up(folder: SweepFolder, nonce: str) -> None:
    """Remove what the machines have written."""
    if isinstance(folder, RemoteFolder):
        for name in folder.remote.objects(f".check-{nonce}"):
            folder.remote.delete(name)
    else:
        shutil.rmtree(folder.path / f".check-{nonce}", ignore_errors=True)
