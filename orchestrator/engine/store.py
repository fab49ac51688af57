"""The stage store: results by the hash of their inputs, on a file system that several processes share.

A stage is a folder stages/ab/abcd.../ with data.safetensors and stage.json. It is built under a temporary name
and renamed, so it is whole or absent; the first complete write wins. stage.json is sealed and holds the data's
checksum: a stage that fails it is set aside under corrupt/ and computed anew.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import shutil
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import safetensors.torch
import torch
from safetensors import SafetensorError

from orchestrator.engine.files import Corrupt, file_digest, read_sealed, replacing, size, write_sealed

log = logging.getLogger(__name__)

Tensors = dict[str, torch.Tensor]

_LEFT = ("stages/??/.*.tmp", "checkpoints/*/.*.tmp", "trials/*/.*.tmp", "claims/*", "failures/*")


class Store:
    """The stages of one sweep, in `folder`. Safe with several processes on one file system."""

    look_seconds = 0.05
    """How often one who waits for a stage of another's looks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, key: str) -> Path:
        """The folder of a stage."""
        return self.folder / "stages" / key[:2] / key

    def meta(self, key: str) -> dict[str, Any] | None:
        """What is recorded of a stage, or None where it does not exist. One that is damaged is set aside."""
        try:
            return read_sealed(self.path(key) / "stage.json")
        except FileNotFoundError:
            return None
        except (Corrupt, NotADirectoryError, IsADirectoryError) as error:
            self.set_aside(key, str(error))
            return None

    def record(self, key: str) -> dict[str, Any] | None:
        """What is recorded of a stage, or was of one that is set aside and not made anew yet; else None."""
        return self.meta(key) or self._record_aside(key)

    def _record_aside(self, key: str) -> dict[str, Any] | None:
        for path in sorted(self.folder.glob(f"corrupt/{key}-*/stage.json")):
            with contextlib.suppress(OSError, Corrupt):
                return read_sealed(path)
        return None

    def has(self, key: str) -> bool:
        """Whether the stage exists."""
        return self.meta(key) is not None

    def knows(self, key: str) -> bool:
        """`has`, for who asks about many stages and bears an answer that is some seconds old."""
        return self.has(key)

    def read(self, key: str) -> tuple[Tensors, dict[str, Any]] | None:
        """A stage's tensors and record, checked against their checksums; None where it does not exist."""
        meta = self.meta(key)
        if meta is None:
            return None
        data = self.path(key) / "data.safetensors"
        try:
            return checked(data, meta.get("data")), meta
        except (Corrupt, FileNotFoundError, IsADirectoryError) as error:
            self.set_aside(key, str(error))
            return None

    def write(self, key: str, tensors: Tensors, meta: dict[str, Any]) -> bool:
        """Keep a stage. False where another complete write was first; theirs stands."""
        final = self.path(key)
        final.parent.mkdir(parents=True, exist_ok=True)
        temporary = final.parent / f".{key[:16]}.{uuid.uuid4().hex[:8]}.tmp"
        try:
            temporary.mkdir()
            data = temporary / "data.safetensors"
            save(tensors, data)
            write_sealed(temporary / "stage.json", {**meta, "key": key, "data": file_digest(data)})
            try:
                os.rename(temporary, final)
            except OSError:
                if self.has(key):
                    return False
                # What stood there was damaged and has just been set aside, or is what a deletion killed half
                # way has left.
                if final.exists():
                    self.set_aside(key, "it has no record")
                os.rename(temporary, final)
            return True
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def set_aside(self, key: str, reason: str) -> None:
        """Move a damaged stage out of the way, with a warning; it will be computed anew. Not one that another process
        has made anew since it was found to be damaged."""
        aside = self.folder / "corrupt" / f"{key}-{uuid.uuid4().hex[:8]}"
        aside.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.rename(self.path(key), aside)
        except FileNotFoundError:
            return  # another process was faster
        with contextlib.suppress(Corrupt, OSError):
            checked(aside / "data.safetensors", read_sealed(aside / "stage.json").get("data"))
            os.rename(aside, self.path(key))
            return
        log.warning("stage set aside as %s and to be computed anew: %s", aside, reason)

    def stages(self) -> list[str]:
        """Every stage there is."""
        # [!.]: not what a killed writer has left under a temporary name
        return sorted(path.parent.name for path in self.folder.glob("stages/??/[!.]*/stage.json"))

    def size(self, key: str) -> int:
        """Bytes of a stage."""
        return size(self.path(key))

    def delete(self, key: str) -> int:
        """Remove a stage; the bytes it held."""
        path, freed = self.path(key), self.size(key)
        (path / "stage.json").unlink()  # first: a stage without its record does not exist
        shutil.rmtree(path)
        return freed

    def litter(self, needed: Collection[str]) -> dict[str, int]:
        """What killed writers have left half written, claims and failures of earlier runs, and checkpoints of
        stages that are not `needed`: names below the folder, with their bytes. Only for who keeps writers away: theirs
        look the same while they write."""
        left = [path for pattern in _LEFT for path in self.folder.glob(pattern)]
        left += [path for path in self.folder.glob("checkpoints/*") if path.name not in needed]
        return {str(path.relative_to(self.folder)): size(path) for path in left}

    def discard(self, name: str) -> None:
        """Remove what `litter` has named."""
        path = self.folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    @contextmanager
    def claim(self, key: str, run: str = "run", trial: str = "trial") -> Iterator[bool]:
        """Try to become the one process that computes a stage, for a trial of a run; yields whether it worked. The
        claim is a lock of the kernel's, so it ends with the process that held it, however that died: no clock
        decides."""
        path = self.folder / "claims" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a") as file:
            if not _locked(file, path):
                yield False
                return
            try:
                yield True
            finally:
                path.unlink(missing_ok=True)

    def free(self, run: str | None = None, trial: str | None = None, key: str | None = None) -> None:
        """Give up the claims of a trial whose worker is dead, that of one stage alone, or those of all trials. Nothing
        to do here: the kernel does."""

    # Failures: stages that other trials of the same run must not try again

    def mark_failed(self, key: str, run: str, trial: str) -> None:
        """Remember that a stage has failed in a trial of a run."""
        write_sealed(self.folder / "failures" / key, {"run": run, "trial": trial})

    def failed_in(self, key: str, run: str) -> str | None:
        """The trial of this run in which a stage has failed, or None."""
        try:
            mark = read_sealed(self.folder / "failures" / key)
        except (FileNotFoundError, Corrupt):
            return None
        return mark["trial"] if mark.get("run") == run else None

    # Checkpoints: how far a training stage in the making has come. One file a stage, named after its content's
    # hash, so that a torn or damaged one is never read.

    def save_checkpoint(self, key: str, step: int, tensors: Tensors) -> None:
        """Keep the state of a stage at a step, in place of earlier ones."""
        folder = self.folder / "checkpoints" / key
        old = list(folder.glob("*.safetensors")) if folder.is_dir() else []
        content = to_bytes(tensors)
        name = f"{step:09d}-{hashlib.sha256(content).hexdigest()[:32]}.safetensors"
        with replacing(folder / name) as temporary:
            temporary.write_bytes(content)
        for path in old:
            if path.name != name:
                path.unlink(missing_ok=True)

    def load_checkpoint(self, key: str) -> Tensors | None:
        """The newest whole checkpoint of a stage, or None."""
        for path in sorted((self.folder / "checkpoints" / key).glob("*.safetensors"), reverse=True):
            try:
                return checked(path, path.stem.rpartition("-")[2])
            except FileNotFoundError:
                continue  # a worker that was given up, and lives, has kept a newer one
            except Corrupt as error:
                log.warning("checkpoint is left out: %s", error)
                path.unlink(missing_ok=True)
        return None

    def drop_checkpoint(self, key: str) -> None:
        """Remove a stage's checkpoints, once it is complete."""
        shutil.rmtree(self.folder / "checkpoints" / key, ignore_errors=True)


def _locked(file: IO[str], path: Path) -> bool:
    """Try to lock the file. Not where its last holder has removed it since it was opened: another process may
    have made and locked a new one at `path`."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except (BlockingIOError, FileNotFoundError):
        return False


def save(tensors: Tensors, path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write tensors as safetensors, from any device and memory format."""
    # Through Python's own file, whose errors say what is wrong: safetensors' do not tell a full disk.
    path.write_bytes(to_bytes(tensors, metadata))


def checked(path: Path, digest: str | None) -> Tensors:
    """The tensors in a safetensors file, on the processor. Raises Corrupt for what is none, or is not what the hash of
    its content, or the hash's first half, says."""
    # The very bytes that are checked: a mapped file would change under the tensors, or end the process where it is cut
    # short.
    content = path.read_bytes()
    found = hashlib.sha256(content).hexdigest()
    if digest not in (found, found[:32]):
        raise Corrupt(f"{path}: content does not match its checksum")
    try:
        tensors = safetensors.torch.load(content)
    except SafetensorError as error:
        raise Corrupt(f"{path}: not a safetensors file ({error})") from error
    # Copies, in memory of torch's own: how a tensor lies there decides in which order a kernel adds up its numbers.
    # And sorted by where they lie in the file, for safetensors gives them in an order that is another each time.
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return {name: tensors[name].clone() for name in sorted(tensors, key=lambda name: header[name]["data_offsets"])}


def to_bytes(tensors: Tensors, metadata: dict[str, str] | None = None) -> bytes:
    """The content of a safetensors file with these tensors, from any device and memory format: the same bytes for the
    same tensors and metadata."""
    # Copies, because the format refuses tensors that are strided or that share memory.
    plain = {name: value.detach().cpu().clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}
    content = safetensors.torch.save(plain)
    if not metadata:
        return content
    # not through safetensors, which writes metadata in an order that is another each time
    end = 8 + int.from_bytes(content[:8], "little")
    header = {"__metadata__": metadata, **json.loads(content[8:end])}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the format's own padding, which aligns the tensors
    return b"".join((len(text).to_bytes(8, "little"), text, memoryview(content)[end:]))
