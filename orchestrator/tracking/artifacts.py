"""The files of a trial, as its run in MLflow keeps them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from orchestrator.engine.files import digest
from orchestrator.tracking.record import Result

Files = Mapping[str, str | Path]
"""Name -> the text of a file, or where it lies."""


def trial_files(folder: Path, result: Result) -> Files:
    """What is kept of a trial: its layers, what went wrong, its log and its ticket, as far as there are any."""
    trial = folder / "trials" / result["trial"]
    files: dict[str, str | Path] = {}
    if result["layers"]:
        files["layers.json"] = json.dumps({"layers": result["layers"]}, indent=2)
    if result["error"]:
        files["error.txt"] = result["error"]["traceback"]
    if (trial / "log.txt").exists():
        files["log.txt"] = trial / "log.txt"
    if result["status"] == "done" and (trial / "ticket.safetensors").exists():
        files["ticket.safetensors"] = trial / "ticket.safetensors"
    return files


def store_files(client: Any, run: Any, files: Files) -> None:
    """Store the files of a run: in its folder, where the store is one of this machine's, else in one request of the
    client's."""
    location = run.info.artifact_uri
    if not files:
        return
    if location.startswith("file://"):
        _lay_out(files, Path(url2pathname(urlsplit(location).path)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        _lay_out(files, Path(scratch))
        client.log_artifacts(run.info.run_id, scratch)


def store_file(client: Any, run: Any, path: Path, place: PurePath) -> None:
    """Store a file of the sweep with its run, at its place in the sweep's folder."""
    target = _stored_as(place)
    within = None if target.parent == PurePath() else target.parent.as_posix()
    if target.name == path.name:
        client.log_artifact(run.info.run_id, str(path), within)
        return
    with tempfile.TemporaryDirectory() as scratch:
        copy = shutil.copyfile(path, Path(scratch) / target.name)
        client.log_artifact(run.info.run_id, str(copy), within)


def _stored_as(place: PurePath) -> PurePath:
    """A file's own name, but for characters at which MLflow's client cuts off the address that it asks a server for."""
    own = place.as_posix()
    clean = PurePath(re.sub(r"[#?%]", "_", own))
    if clean == place:
        return place
    return clean.with_name(f"{clean.stem[:100]}-{digest(own)[:8]}{clean.suffix}")


def _lay_out(files: Files, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = target / name
        if isinstance(content, str):
            path.write_text(content, encoding="utf-8")
            continue
        path.unlink(missing_ok=True)
        if name.endswith(".safetensors"):
            # a ticket is as large as its network and never changes in place: a second name costs no space
            with contextlib.suppress(OSError):  # another file system
                os.link(content, path)
                continue
        shutil.copyfile(content, path)
