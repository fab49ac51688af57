"""Files that would run code, or lead out of their folder, if whoever reads them let them."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
from pathlib import Path
from typing import Any


class Payload:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.mknod, (str(self.marker),)


def pickled(marker: Path) -> bytes:
    """A pickle that makes `marker`."""
    return pickle.dumps(Payload(marker), protocol=2)


def tar(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    """An archive of these members."""
    with tarfile.open(path, "w:gz") as file:
        for member, content in members:
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return path


def link(name: str, to: str, kind: bytes = tarfile.SYMTYPE) -> tuple[tarfile.TarInfo, bytes]:
    """A link in an archive."""
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, to
    return member, b""
