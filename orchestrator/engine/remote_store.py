"""The stage store in an object store, with a copy on this machine of what is used here.

A stage is the objects stages/ab/abcd.../data-HASH.safetensors and stage.json. The record is written last, created
once: the first complete write wins, and what it names by its hash cannot be torn. A claim is an object created once
too; no lock of the kernel's reaches that far, so the sweep's driver, who hears when a worker dies, frees what it held.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import shutil
import time
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from orchestrator.engine.files import Corrupt, replacing, sealed, unsealed, write_text
from orchestrator.engine.remote import Object, Remote
from orchestrator.engine.store import Store, Tensors, to_bytes

log = logging.getLogger(__name__)

LISTING_SECONDS = 5.0
"""How long a list of the stages serves those who ask about many."""


class RemoteStore(Store):
    """The stages of one sweep, in `remote`, and in `folder` copies of them. Safe with several machines."""

    look_seconds = 2.0

    def __init__(self, folder: Path, remote: Remote) -> None:
        super().__init__(folder)
        self.remote = remote
        self._listed: dict[str, Object] = {}
        self._listed_at = -LISTING_SECONDS

    def _name(self, key: str, file: str = "stage.json") -> str:
        return f"stages/{key[:2]}/{key}/{file}"

    def meta(self, key: str) -> dict[str, Any] | None:
        """See Store."""
        found = super().meta(key)
        if found is not None:
            return found
        name = self._name(key)
        while (record := self.remote.get(name)) is not None:
            try:
                found = unsealed(record, f"{self.remote.url}/{name}")
            except Corrupt as error:
                self._move_aside(key, record, str(error))
                continue
            write_text(self.path(key) / "stage.json", record.decode())
            return found
        return None

    def _record_aside(self, key: str) -> dict[str, Any] | None:
        for name in sorted(self.remote.objects("corrupt")):
            if name.startswith(f"corrupt/{key}-") and name.endswith("/stage.json"):
                with contextlib.suppress(Corrupt):
                    return unsealed(self.remote.get(name) or b"", name)
        return None

    def has(self, key: str) -> bool:
        """See Store."""
        return super().meta(key) is not None or self.remote.has(self._name(key))

    def knows(self, key: str) -> bool:
        """See Store."""
        return super().meta(key) is not None or self._name(key) in self._listing()

    def _listing(self) -> dict[str, Object]:
        if time.monotonic() - self._listed_at > LISTING_SECONDS:
            self._listed, self._listed_at = self.remote.objects("stages"), time.monotonic()
        return self._listed

    def read(self, key: str) -> tuple[Tensors, dict[str, Any]] | None:
        """See Store."""
        while (meta := self.meta(key)) is not None:
            data = self.path(key) / "data.safetensors"
            copied = not data.exists()
            if copied and not self._fetch(key, meta["data"], data):
                continue
            found = super().read(key)  # a copy that is damaged is set aside, and fetched anew
            if found is not None:
                return found
            if copied:
                self._set_aside_there(key, meta["data"], "its data are no tensors")
        return None

    def _fetch(self, key: str, digest: str, data: Path) -> bool:
        """Copy a stage's data here. False where the store's own are damaged or gone; then the stage is set aside."""
        content = self.remote.get(self._name(key, _data(digest)))
        if content is not None and hashlib.sha256(content).hexdigest() == digest:
            with replacing(data) as temporary:
                temporary.write_bytes(content)
            return True
        why = "its data are gone" if content is None else "its data do not match their checksum"
        self._set_aside_there(key, digest, why)
        shutil.rmtree(self.path(key), ignore_errors=True)  # the copy of the record
        return False

    def write(self, key: str, tensors: Tensors, meta: dict[str, Any]) -> bool:
        """See Store."""
        content = to_bytes(tensors)
        digest = hashlib.sha256(content).hexdigest()
        record = sealed({**meta, "key": key, "data": digest})
        self.remote.put(self._name(key, _data(digest)), content)
        while not self.remote.create(self._name(key), record.encode()):
            if self.meta(key) is not None:  # not where theirs was damaged, and has just been set aside
                return False
        temporary = self.path(key).parent / f".{key[:16]}.{uuid.uuid4().hex[:8]}.tmp"
        temporary.mkdir(parents=True)
        try:
            (temporary / "data.safetensors").write_bytes(content)
            (temporary / "stage.json").write_text(record, encoding="utf-8")
            with contextlib.suppress(OSError):  # another process here was faster to copy it
                os.rename(temporary, self.path(key))
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        return True

    def _set_aside_there(self, key: str, digest: str, reason: str) -> None:
        """Set a stage aside whose data are damaged; not where another has made it anew since its record was read."""
        record = self.remote.get(self._name(key))
        with contextlib.suppress(Corrupt):
            if record is not None and unsealed(record, key)["data"] == digest:
                self._move_aside(key, record, reason)

    def _move_aside(self, key: str, record: bytes, reason: str) -> None:
        """Keep a damaged stage's objects under corrupt/."""
        aside = f"corrupt/{key}-{uuid.uuid4().hex[:8]}"
        self.remote.put(f"{aside}/stage.json", record)  # before it is gone there: costs are counted by it
        self.remote.delete(self._name(key))  # before the rest: a stage without its record does not exist
        for name in self.remote.objects(self._name(key, "")):
            if not name.endswith("/stage.json") and (content := self.remote.get(name)) is not None:
                self.remote.put(f"{aside}/{name.rpartition('/')[2]}", content)
                self.remote.delete(name)
        log.warning("stage set aside as %s/%s and to be computed anew: %s", self.remote.url, aside, reason)

    def stages(self) -> list[str]:
        """See Store."""
        self._listed_at = -LISTING_SECONDS
        return sorted(name.split("/")[2] for name in self._listing() if name.endswith("/stage.json"))

    def size(self, key: str) -> int:
        """See Store."""
        folder = self._name(key, "")
        return sum(known.size for name, known in self._listing().items() if name.startswith(folder))

    def delete(self, key: str) -> int:
        """See Store."""
        freed = self.size(key)
        self.remote.delete(self._name(key))  # first: a stage without its record does not exist
        for name in self.remote.objects(self._name(key, "")):
            self.remote.delete(name)
        shutil.rmtree(self.path(key), ignore_errors=True)
        return freed

    def litter(self, needed: Collection[str]) -> dict[str, int]:
        """See Store."""
        there = self.remote.objects()
        left = {}
        for name, known in there.items():
            kind, _, rest = name.partition("/")
            stage = name.rpartition("/")[0]
            if (
                kind in ("claims", "failures")
                or (kind == "checkpoints" and rest.partition("/")[0] not in needed)
                or (kind == "stages" and f"{stage}/stage.json" not in there)
            ):
                left[name] = known.size
        return left

    def discard(self, name: str) -> None:
        """See Store."""
        self.remote.delete(name)

    @contextmanager
    def claim(self, key: str, run: str = "run", trial: str = "trial") -> Iterator[bool]:
        """Try to become the one process that computes a stage. See Store; whoever drives the sweep frees the claims
        of workers that died."""
        name, mine = f"claims/{key}", json.dumps({"run": run, "trial": trial, "by": uuid.uuid4().hex}).encode()
        with super().claim(key) as here:  # among this machine's processes: it costs nothing
            if not here or not self.remote.create(name, mine):
                yield False
                return
            try:
                yield True
            finally:
                if self.remote.get(name) == mine:  # not another's, where this worker was taken for dead
                    self.remote.delete(name)

    def free(self, run: str | None = None, trial: str | None = None, key: str | None = None) -> None:
        """Give up the claims of a trial whose worker is dead, that of one stage alone, or those of all trials."""
        for name in self.remote.objects("claims"):
            if key not in (None, name.rpartition("/")[2]):
                continue
            if run is not None:
                try:
                    claim = json.loads(self.remote.get(name) or b"{}")
                except ValueError:
                    claim = {}
                if (claim.get("run"), claim.get("trial")) != (run, trial):
                    continue
            self.remote.delete(name)

    def mark_failed(self, key: str, run: str, trial: str) -> None:
        """See Store."""
        self.remote.put(f"failures/{key}", sealed({"run": run, "trial": trial}).encode())

    def failed_in(self, key: str, run: str) -> str | None:
        """See Store."""
        mark = self.remote.get(f"failures/{key}")
        try:
            known = unsealed(mark, key) if mark else {}
        except Corrupt:
            return None
        return known["trial"] if known.get("run") == run else None

    def save_checkpoint(self, key: str, step: int, tensors: Tensors) -> None:
        """See Store. Earlier ones go; a later one, of a worker that took over meanwhile, stays."""
        content = to_bytes(tensors)
        digest = hashlib.sha256(content).hexdigest()
        own = f"checkpoints/{key}/{step:09d}-{digest[:32]}.safetensors"
        self.remote.put(own, content)
        for name in self.remote.objects(f"checkpoints/{key}"):
            if name < own:
                self.remote.delete(name)

    def load_checkpoint(self, key: str) -> Tensors | None:
        """See Store."""
        there = sorted(self.remote.objects(f"checkpoints/{key}"), reverse=True)
        for name in there:
            if self.remote.fetch(name, self.folder / name) and (found := super().load_checkpoint(key)) is not None:
                return found
        return None

    def drop_checkpoint(self, key: str) -> None:
        """See Store."""
        for name in self.remote.objects(f"checkpoints/{key}"):
            self.remote.delete(name)
        super().drop_checkpoint(key)


def _data(digest: str) -> str:
    return f"data-{digest[:32]}.safetensors"
