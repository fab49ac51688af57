"""A sweep's folder in an object store, such as s3://BUCKET/sweeps/NAME: the files that commands read and write are a
copy of it on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.engine.files import digest, write_text
from orchestrator.engine.folder import ADDRESS, FolderError, SweepFolder, this_process
from orchestrator.engine.mirror import Mirror, boot_id
from orchestrator.engine.remote import PATIENCE, Remote
from orchestrator.engine.room import use

if TYPE_CHECKING:
    from orchestrator.engine.store import Store

TICKET = "ticket.safetensors"


class RemoteFolder(SweepFolder):
    """The files of one sweep in an object store. What is written to `path` reaches the store with `push`."""

    shared = False
    look_seconds = 2.0

    def __init__(self, url: str) -> None:
        from orchestrator.engine.data.cache import cache_folder

        self.remote = Remote(url)
        name = self.remote.url.rpartition("/")[2]
        super().__init__(cache_folder() / "sweeps" / digest(self.remote.url)[:16] / name)
        self.mirror = Mirror(self.path, self.remote)
        self.path.parent.parent.mkdir(parents=True, exist_ok=True)
        use(self.path.parent)

    @property
    def address(self) -> str:
        """See SweepFolder."""
        return self.remote.url

    @cached_property
    def store(self) -> Store:
        """See SweepFolder."""
        from orchestrator.engine.remote_store import RemoteStore  # torch is loaded only where stages are read

        return RemoteStore(self.path, self.remote)

    def store_size(self) -> tuple[int, int]:
        """See SweepFolder."""
        files = self.remote.objects("stages")
        return sum(name.endswith("/stage.json") for name in files), sum(known.size for known in files.values())

    def prepare(self) -> None:
        """See SweepFolder."""
        super().prepare()
        try:
            self.remote.prove()
        except OSError as error:
            raise FolderError(
                f"{self.address}: cannot be used ({error.strerror or error}); check the address, the bucket and the "
                "credentials, here and on every machine"
            ) from error

    def push(self, trial: str | None = None) -> None:
        """See SweepFolder."""
        if trial is not None:
            self.mirror.push(f"trials/{trial}")
            return
        for folder in ("", "search", "ratios"):
            if (self.path / folder).is_dir():
                self.mirror.push(folder)

    def pull(self, trial: str | None = None, tickets: bool = False) -> None:
        """See SweepFolder."""
        if trial is not None:
            self.mirror.pull(f"trials/{trial}")
            return
        for folder in ("", "search", "ratios"):
            self.mirror.pull(folder)
        self.mirror.pull_below("trials", without=() if tickets else (TICKET,))
        write_text(self.path / ADDRESS, self.address + "\n")

    def growing(self, trial: str, file: str) -> Path:
        """See SweepFolder."""
        return self.trial(trial) / self.mirror.part(file)

    # One driver: an object that is created once. It does not go by itself when the driver dies, and no clock decides

    @contextmanager
    def driving(self, take_over: bool = False) -> Iterator[None]:
        """Be the one driver of this sweep. The place of a driver of this machine that is dead is taken, and with
        `take_over` anybody's. Raises FolderError if another process drives the sweep."""
        mine = json.dumps({"who": this_process(), "by": uuid.uuid4().hex, **_identity(os.getpid())}).encode()
        while not self.remote.create("driver.lock", mine):
            held = self.remote.get("driver.lock")
            if held is None:
                continue
            if not take_over and not _dead(held):
                raise FolderError(
                    f"{self.address}: another process is driving this sweep ({_who(held)}); wait for it, or end it "
                    f"with `jackpot stop {self.address}`. If its machine is gone for good, add --take-over"
                )
            if self.remote.get("driver.lock") == held:
                self.remote.delete("driver.lock")
        self._lock = mine
        self.remote.patience = PATIENCE
        try:
            self.remote.delete("stop")
            self.store.free()
            yield
        finally:
            with contextlib.suppress(OSError):
                if self.still_driving():
                    self.remote.delete("driver.lock")

    def still_driving(self) -> bool:
        """Whether this process is still the driver: another may have taken over."""
        return self.remote.get("driver.lock") == self._lock

    def driver(self) -> str | None:
        """See SweepFolder."""
        held = self.remote.get("driver.lock")
        return None if held is None or _dead(held) else _who(held)

    # Stopping, and a search's turn

    def request_stop(self, why: str) -> None:
        """See SweepFolder."""
        self.remote.put("stop", (why + "\n").encode())

    def stop_requested(self) -> str | None:
        """See SweepFolder."""
        why = self.remote.get("stop")
        return None if why is None else why.decode(errors="replace").strip() or "asked to stop"

    def say_turn(self, turn: int) -> None:
        """See SweepFolder."""
        self.remote.put("search/turn", f"{turn}\n".encode())

    def turn(self) -> int:
        """See SweepFolder."""
        try:
            return int(self.remote.get("search/turn") or -1)
        except ValueError:
            return -1


def _identity(pid: int) -> dict[str, Any]:
    """What tells a process of this machine from every other: its number alone is given again. Nothing where the system
    does not say it."""
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
        return {**_machine(), "boot": boot_id(), "pid": pid, "begun": status.rpartition(")")[2].split()[19]}
    return {}


def _machine() -> dict[str, str]:
    """This machine, whichever time it was started."""
    found = {"host": socket.gethostname()}
    with contextlib.suppress(OSError):
        found["machine"] = Path("/etc/machine-id").read_text(encoding="utf-8").strip()
    return found


def _dead(lock: bytes) -> bool:
    """Whether the process that wrote a lock is known to be dead: it was of this machine, and is no more."""
    held = _read(lock)
    if not isinstance(held.get("pid"), int) or any(held.get(name) != known for name, known in _machine().items()):
        return False
    # this machine has started anew since, or the process has ended
    return held.get("boot") != boot_id() or _identity(held["pid"]).get("begun") != held.get("begun")


def _who(lock: bytes) -> str:
    return str(_read(lock).get("who", "unknown"))


def _read(lock: bytes) -> dict[str, Any]:
    try:
        held = json.loads(lock)
    except ValueError:
        return {}
    return held if isinstance(held, dict) else {}
