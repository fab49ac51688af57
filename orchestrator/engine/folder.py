"""A sweep's folder: where everything of a sweep lies, and who may write to it."""

from __future__ import annotations

import fcntl
import glob
import json
import logging
import os
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from orchestrator.engine.files import Corrupt, read_sealed, size, write_text

if TYPE_CHECKING:
    from orchestrator.engine.store import Store

log = logging.getLogger(__name__)

SCHEMA = 1
"""Version of a result's fields. A result of a higher one was written by a newer Jackpot, and is not guessed at."""


class FolderError(Exception):
    """The sweep's folder cannot be used; the message says why and what to do."""


ADDRESS = ".address"
"""Stands in a folder that is a copy of one in an object store, and says of which."""


def address_of(path: Path) -> str:
    """How commands call the sweep whose files lie at a path."""
    try:
        return (path / ADDRESS).read_text(encoding="utf-8").strip()
    except (FileNotFoundError, NotADirectoryError):
        return str(path)


class SweepFolder:
    """The files of one sweep. The results in it are the truth; everything else can be made from them."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @property
    def address(self) -> str:
        """Where the sweep lies, as commands take it."""
        return str(self.path)

    @property
    def name(self) -> str:
        """The sweep's name, as commands take it."""
        return self.path.name

    @cached_property
    def store(self) -> Store:
        """The stages of the sweep."""
        from orchestrator.engine.store import Store  # torch is loaded only where stages are read

        return Store(self.path)

    def store_size(self) -> tuple[int, int]:
        """How many stages there are, and their bytes. Not asked of `store`, which loads torch."""
        # glob.glob bears folders that vanish meanwhile, and passes over what a killed writer has left under a dot
        files = [self.path / path for path in glob.glob("stages/??/*/*", root_dir=self.path)]
        return sum(path.name == "stage.json" for path in files), sum(map(size, files))

    def trial(self, trial: str) -> Path:
        """Where a trial keeps its result, events, log and ticket. Raises FolderError for what is no name: plans and
        decisions are read from files, and no such name may lead out of the folder."""
        if trial in ("", ".", "..") or "/" in trial or "\0" in trial:
            raise FolderError(f"{self.address}: {trial!r} is no trial's name; `jackpot run` writes the plan anew")
        return self.path / "trials" / trial

    def refuse_links(self) -> None:
        """See that no link in the folder leads out of it, where a command would read or write what it leads to. Raises
        FolderError."""
        inside, folders = os.path.realpath(self.path), [str(self.path)]
        while folders:
            try:
                with os.scandir(folders.pop()) as entries:
                    for entry in entries:
                        if entry.is_symlink():
                            to = os.path.realpath(entry.path)
                            if os.path.commonpath([inside, to]) != inside:
                                raise FolderError(
                                    f"{entry.path}: is a link out of the sweep's folder, to {to}; put what it stands "
                                    "for there, or remove it"
                                )
                        elif entry.is_dir():
                            folders.append(entry.path)
            except (FileNotFoundError, NotADirectoryError):  # what is removed meanwhile leads nowhere
                continue

    def prepare(self) -> None:
        """Make the folder and see that it can be written. Raises FolderError."""
        probe = self.path / f".probe-{uuid.uuid4().hex[:8]}"
        try:
            self.refuse_links()
            self.path.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"jackpot" * 1024)
        except OSError as error:
            raise FolderError(
                f"{self.path}: cannot be written ({error.strerror}); free space, mend its permissions or choose "
                "another folder with --out"
            ) from error
        finally:
            with suppress(OSError):  # a full disk takes the name, and not what is in it
                probe.unlink(missing_ok=True)

    def result(self, trial: str, key: str | None = None) -> dict[str, Any] | None:
        """A trial's result, or None; given its key in the plan, None too for one that another plan has left. A
        damaged file is set aside with a warning, so that the trial runs again. Raises FolderError for one that a newer
        Jackpot wrote."""
        found = self._read_result(trial)
        if found is not None and key is not None and found["key"] != key:
            return None
        return found

    def _read_result(self, trial: str) -> dict[str, Any] | None:
        path = self.trial(trial) / "result.json"
        try:
            found = read_sealed(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except Corrupt as error:
            aside = path.with_name(f"result.corrupt-{uuid.uuid4().hex[:8]}.json")
            try:
                os.rename(path, aside)
            except FileNotFoundError:
                return None  # another process was faster
            log.warning("result set aside as %s and to be computed anew: %s", aside, error)
            return None
        if found.get("schema", SCHEMA) > SCHEMA:
            raise FolderError(
                f"{path}: a newer Jackpot wrote this result, of schema {found['schema']}; this one knows schema "
                f"{SCHEMA} and older. Upgrade Jackpot here"
            )
        return found

    # A folder that all machines see needs nothing brought to and fro; one in an object store does (RemoteFolder)

    shared = True
    """Whether all machines see the folder's files as they are written."""
    look_seconds = 0.0
    """How long to wait at least between two looks at what another machine may have written."""

    def push(self, trial: str | None = None) -> None:
        """Let others see what was written here: of a trial, or of the sweep besides its trials."""

    def pull(self, trial: str | None = None, tickets: bool = False) -> None:
        """See what others wrote: of a trial, or of all, but for the trials' tickets unless they are asked for."""

    def growing(self, trial: str, file: str) -> Path:
        """Where to append to a trial's events or log."""
        return self.trial(trial) / file

    # Events: what a running trial says of itself, a JSON line each

    def tell(self, trial: str, event: dict[str, Any]) -> None:
        """Append an event of a trial, with the time."""
        # begun on a line of its own: a killed worker may have left its last one unfinished
        line = "\n" + json.dumps({"time": time.time(), **event}) + "\n"
        path = self.growing(trial, "events.jsonl")
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "a", encoding="utf-8") as file:
            file.write(line)  # one short write: lines of two processes do not mix

    def events(self, trial: str) -> list[dict[str, Any]]:
        """The events of a trial."""
        try:
            return parse_events((self.trial(trial) / "events.jsonl").read_bytes())
        except FileNotFoundError:
            return []

    # One driver

    @contextmanager
    def driving(self, take_over: bool = False) -> Iterator[None]:
        """Be the one driver of this sweep. The lock is the kernel's and ends with the process, however it dies.
        Raises FolderError if another process drives it; `take_over` is for folders that no kernel watches."""
        with open(self.path / "driver.lock", "a+", encoding="utf-8") as file:
            if not _lock(file):
                file.seek(0)
                raise FolderError(
                    f"{self.path}: another process is driving this sweep ({file.read().strip()}); wait for it, or end "
                    f"it with `jackpot stop {self.path}`"
                )
            file.truncate(0)
            file.write(this_process())
            file.flush()
            self.stop_file.unlink(missing_ok=True)
            yield

    def driver(self) -> str | None:
        """Who drives the sweep now, or None."""
        try:
            with open(self.path / "driver.lock", encoding="utf-8") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    return file.read().strip()
        except FileNotFoundError:
            pass
        return None

    def driven_by_another(self) -> str | None:
        """Who drives the sweep now, unless it is this process; or None."""
        driver = self.driver()
        return None if driver == this_process() else driver

    def still_driving(self) -> bool:
        """Whether this process is still the driver: another may have taken over a folder that no kernel watches."""
        return True

    # Stopping: a file that the driver and every worker look for

    @property
    def stop_file(self) -> Path:
        """Its presence asks the sweep to stop."""
        return self.path / "stop"

    def request_stop(self, why: str) -> None:
        """Ask the sweep to stop: running trials keep a checkpoint and end, no new one starts."""
        write_text(self.stop_file, why + "\n")

    def stop_requested(self) -> str | None:
        """Why the sweep was asked to stop, or None where it was not."""
        try:
            return self.stop_file.read_text(encoding="utf-8").strip() or "asked to stop"
        except FileNotFoundError:
            return None

    # A search's turn: how many of its trials have ended, which a slot that waits for the search looks at

    def say_turn(self, turn: int) -> None:
        """Keep how many trials of a running search have ended."""
        write_text(self.path / "search" / "turn", f"{turn}\n")

    def turn(self) -> int:
        """How many trials of a running search have ended; -1 where nobody has said so."""
        try:
            return int((self.path / "search" / "turn").read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return -1


def parse_events(lines: bytes) -> list[dict[str, Any]]:
    """Events from their lines. What is none is passed over: a killed worker may leave its last line unfinished."""
    found = []
    for line in lines.splitlines():
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict) and "time" in event:
            found.append(event)
    return found


def this_process() -> str:
    """This process, as others are told of it."""
    return f"process {os.getpid()} on {socket.gethostname()}"


def _lock(file: IO[str]) -> bool:
    """Take the exclusive lock. Tried a few times, because `driver` holds it for a moment to look."""
    for _ in range(10):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(0.05)
    return False
