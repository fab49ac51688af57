"""An object store that a sweep is shared through, by fsspec: whole objects that are listed, replaced, or created once.

Nothing here is renamed, for object stores cannot: that an object is created by one writer alone is the store's own
promise (S3: a PUT with `If-None-Match: *`), and what must not be torn is named by its content's hash.
"""

from __future__ import annotations

import errno
import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

from orchestrator.engine.files import replacing

log = logging.getLogger(__name__)

T = TypeVar("T")

PATIENCE = 180.0
"""Seconds that a sweep that runs tries a store which is away, before it gives up."""
SHORT_PATIENCE = 10.0
"""Seconds that a command tries it, before anything runs."""
_WAITS = (0.2, 0.5, 1.0, 2.0, 5.0)
_OURS = (TypeError, ValueError, AttributeError, NotImplementedError)


class RemoteError(OSError):
    """The object store cannot be used; the message says why."""


@dataclass(frozen=True)
class Object:
    """An object as the store lists it."""

    size: int
    tag: str
    """Another one for another content."""
    written: float
    """When, by the store's clock. Only ever compared with the same clock."""


class Remote:
    """The objects below a URL such as s3://BUCKET/sweeps/NAME. Names are relative to it.

    Every call tries for `patience` seconds before it raises RemoteError, for a store may be away for a minute."""

    patience = SHORT_PATIENCE
    """Of all in this process; a worker has more."""

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    @cached_property
    def _at(self) -> tuple[Any, str]:
        import fsspec

        try:
            return fsspec.core.url_to_fs(self.url, use_listings_cache=False)
        except ImportError as error:
            raise RemoteError(
                errno.EINVAL, f"{error}; for s3:// install `jackpot-tickets[s3]`, on every machine", self.url
            ) from error
        except ValueError as error:
            raise RemoteError(errno.EINVAL, f"{error}; expected s3://BUCKET/FOLDER", self.url) from error

    def create(self, name: str, content: bytes) -> bool:
        """Create an object; False, changing nothing, where there is one. Of several who try at once one succeeds."""
        fs, root = self._at
        try:
            self._tried(name, lambda: fs.pipe_file(f"{root}/{name}", content, mode="create"))
        except FileExistsError:
            # one's own, if the answer to a first try was lost on the way
            return self.get(name) == content
        return True

    def put(self, name: str, content: bytes | Path) -> None:
        """Write an object, from bytes or a file, in place of the one there is."""
        fs, root = self._at
        if isinstance(content, Path):
            self._tried(name, lambda: fs.put_file(str(content), f"{root}/{name}"))
        else:
            self._tried(name, lambda: fs.pipe_file(f"{root}/{name}", content))

    def get(self, name: str) -> bytes | None:
        """An object's content, or None where there is none."""
        fs, root = self._at
        try:
            return self._tried(name, lambda: bytes(fs.cat_file(f"{root}/{name}")))
        except FileNotFoundError:
            return None

    def fetch(self, name: str, path: Path) -> bool:
        """Copy an object into a file, whole or not at all; False where there is none."""
        fs, root = self._at
        try:
            with replacing(path) as temporary:
                self._tried(name, lambda: fs.get_file(f"{root}/{name}", str(temporary)))
        except FileNotFoundError:
            return False
        return True

    def has(self, name: str) -> bool:
        """Whether there is such an object."""
        fs, root = self._at
        return bool(self._tried(name, lambda: fs.exists(f"{root}/{name}")))

    def objects(self, folder: str = "", deep: bool = True) -> dict[str, Object]:
        """The objects in a folder, and where it is `deep` in folders of it."""
        fs, root = self._at
        where = f"{root}/{folder}".rstrip("/")
        if deep:
            found = self._tried(folder, lambda: fs.find(where, detail=True))
        else:
            try:
                listed = self._tried(folder, lambda: fs.ls(where, detail=True))
            except FileNotFoundError:
                return {}
            found = {known["name"]: known for known in listed if known["type"] == "file"}
        named = {path.removeprefix(root + "/"): _object(known) for path, known in found.items()}
        # an object may be called anything; a file of that name must not lie outside the folder that it is copied to
        return {name: known for name, known in named.items() if not {"", ".", ".."} & set(name.split("/"))}

    def object(self, name: str) -> Object:
        """An object as the store lists it. Raises FileNotFoundError."""
        fs, root = self._at
        return _object(self._tried(name, lambda: fs.info(f"{root}/{name}")))

    def delete(self, name: str) -> None:
        """Remove an object, if it is there."""
        fs, root = self._at
        try:
            self._tried(name, lambda: fs.rm_file(f"{root}/{name}"))
        except FileNotFoundError:
            return

    def prove(self) -> None:
        """See that objects can be written, created once, read and removed. Raises RemoteError with the remedy, at
        once: this is asked before anything runs."""
        patience, self.patience = self.patience, 0.0
        name = f".probe-{uuid.uuid4().hex}"
        try:
            first, second = self.create(name, b"first"), self.create(name, b"second")
            if not first or second:
                raise RemoteError(
                    errno.ENOTSUP, "this store lets two writers create one object; Jackpot needs conditional writes "
                    "(S3 has them, and most that speak its language)", self.url,
                )  # fmt: skip
            self.delete(name)
        finally:
            self.patience = patience

    def _tried(self, name: str, call: Callable[[], T]) -> T:
        """What a call returns, tried again while the store is away."""
        began, tries = time.monotonic(), 0
        while True:
            try:
                return call()
            except (FileExistsError, RemoteError, *_OURS):
                raise
            except FileNotFoundError as error:
                if "bucket does not exist" not in str(error):
                    raise
                failed: Exception = error
            except Exception as error:
                failed = error
            if time.monotonic() - began >= self.patience or _is_final(failed):
                where = f"{self.url}/{name}" if name else self.url
                raise RemoteError(errno.EIO, f"the object store does not take part: {failed}", where) from failed
            if not tries:
                log.warning("%s/%s: %s; trying again for %.0f s", self.url, name, failed, self.patience)
            time.sleep(_WAITS[min(tries, len(_WAITS) - 1)])
            tries += 1


def _is_final(error: Exception) -> bool:
    """Whether to ask again is no use: the bucket is not there, or not for us."""
    return isinstance(error, (FileNotFoundError, PermissionError)) or "credentials" in str(error).lower()


def _object(known: dict[str, Any]) -> Object:
    when = known.get("LastModified") or known.get("mtime") or known.get("created") or 0.0
    written = when.timestamp() if hasattr(when, "timestamp") else float(when)
    return Object(known["size"] or 0, str(known.get("ETag") or written), written)
