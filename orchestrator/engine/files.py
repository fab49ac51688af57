"""Files that are whole or absent: written under a temporary name, renamed, and sealed with a checksum."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import stat
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

STORAGE_SECONDS = 120.0
"""How long a folder is waited for that is full or read-only."""
TAKES_NOTHING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
"""Errors of a folder that takes nothing now, and may soon."""


class Corrupt(Exception):
    """A file whose content does not match its checksum, or that cannot be read as what it should be."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; renamed over it when the block ends well, removed otherwise.
    The content is flushed to the disk before the rename, so a power cut leaves the old file or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def patiently(write: Callable[[], None], over: Callable[[], bool] = lambda: False) -> None:
    """Write, and again for as long as the disk is full or read-only. Raises the OSError of a write that fails
    otherwise, after STORAGE_SECONDS, or once `over`."""
    until, pause = time.monotonic() + STORAGE_SECONDS, 0.5
    while True:
        try:
            write()
            return
        except OSError as error:
            if error.errno not in TAKES_NOTHING or time.monotonic() + pause > until or over():
                raise
        time.sleep(pause)
        pause = min(2 * pause, 8.0)


def canonical(value: Any) -> bytes:
    """The one JSON text of a value: keys sorted, no spaces. What keys and seals are hashed from."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=True).encode()


def digest(value: Any) -> str:
    """SHA-256 of a value's canonical JSON."""
    return hashlib.sha256(canonical(value)).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def size(path: Path) -> int:
    """Bytes of a file, or of all in a folder; what is removed meanwhile counts nothing."""
    found = 0
    for file in glob.iglob("**", root_dir=path, recursive=True, include_hidden=True) if path.is_dir() else ("",):
        with suppress(FileNotFoundError, NotADirectoryError):
            status = (path / file).stat()
            found += status.st_size if stat.S_ISREG(status.st_mode) else 0
    return found


def write_sealed(path: Path, content: dict[str, Any]) -> None:
    """Write JSON with its own checksum under "sha256", whole or not at all."""
    write_text(path, sealed(content))


def sealed(content: dict[str, Any]) -> str:
    """JSON with its own checksum under "sha256"."""
    return json.dumps({**content, "sha256": digest(content)}, indent=1) + "\n"


def read_sealed(path: Path) -> dict[str, Any]:
    """Read what `write_sealed` wrote. Raises FileNotFoundError, or Corrupt if a byte of it changed."""
    return unsealed(path.read_bytes(), path)


def unsealed(text: bytes, where: object) -> dict[str, Any]:
    """The content of a sealed JSON text; `where` names it in the error. Raises Corrupt if a byte of it changed."""
    try:
        content = json.loads(text.decode("utf-8"))
        seal = content.pop("sha256")
        own = digest(content)
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise Corrupt(f"{where}: not a sealed JSON file ({error})") from error
    if own != seal:
        raise Corrupt(f"{where}: content does not match its checksum")
    return content
