"""A folder on this machine that stands for one in an object store: what is written here is pushed there, what others
wrote there is pulled here.

Object stores cannot append. A file that grows line by line (events, a log) is therefore kept by each machine as a part
of its own, `events.MACHINE.jsonl`, and the parts are put together here to the file that readers know.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import socket
import uuid
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any

from orchestrator.engine.files import digest, write_text
from orchestrator.engine.remote import Object, Remote

GROWING = ("events.jsonl", "log.txt")
"""Files that several machines may append to, one after the other."""
_HERE = ("driver.lock", "stop", "turn", *GROWING)
"""Files that are never pushed or pulled under their own names; nor is MLflow's database, made from the rest."""
LAST = "result.json"
"""A trial's file that comes after its others, here and there: who sees it may count on them."""
_AT_ONCE = 16


@cache
def boot_id() -> str:
    """Another one whenever this machine starts."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return f"{uuid.getnode():x}"


class Mirror:
    """The copy at `path` of what lies in `remote`, folder by folder. Safe with several processes of a machine."""

    def __init__(self, path: Path, remote: Remote) -> None:
        self.path, self.remote = path, remote
        self.machine = digest([socket.gethostname(), boot_id(), str(path)])[:12]

    def part(self, file: str) -> str:
        """The name under which this machine keeps what it appends to a growing file."""
        return _part(file, self.machine)

    def push(self, folder: str = "") -> None:
        """Bring to the store what has changed in a folder here, LAST after the rest; what is gone here goes there.
        Raises RemoteError."""
        with self._synced(folder) as state:
            last = _read(self.path / folder / LAST)  # before the rest is listed, which was written before it
            here = {path.name: path for path in (self.path / folder).iterdir() if path.is_file() and _shared(path.name)}
            for name in sorted(here.keys() - {LAST}):
                self._put(folder, name, _stamp(here[name]), here[name], state)
            if last:
                self._put(folder, LAST, *last, state)
            for name in [name for name in state if _shared(name) and name not in here]:
                self.remote.delete(_below(folder, name))
                del state[name]

    def _put(self, folder: str, name: str, stamp: list[int], content: bytes | Path, state: dict[str, Any]) -> None:
        known = state.get(name, [None])[1:]
        # a part of before this machine was started anew: the power cut may have taken lines that are in the store
        shorter = name not in self._own_parts and _is_part(name) and known and stamp[0] <= known[0]
        if known != stamp and not shorter:
            self.remote.put(_below(folder, name), content)
            state[name] = [self.remote.object(_below(folder, name)).tag, *stamp]

    def pull(self, folder: str = "", without: Collection[str] = ()) -> None:
        """Bring here what has changed in a folder of the store, but for the files `without`. Raises RemoteError."""
        self._pull(folder, None, without)

    def pull_below(self, folder: str, without: Collection[str] = ()) -> None:
        """`pull` for each of the folders in a folder."""
        there: dict[str, dict[str, Object]] = {}
        for name, known in self.remote.objects(folder).items():
            where, _, file = name.rpartition("/")
            there.setdefault(where, {})[file] = known
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            for _ in pool.map(lambda found: self._pull(found[0], found[1], without), there.items()):
                pass

    def _pull(self, folder: str, there: dict[str, Object] | None, without: Collection[str]) -> None:
        with self._synced(folder) as state:
            # a list from before the lock was had is believed only if nothing has changed: what was pushed from here
            # meanwhile would pass for removed there
            if there is None or any(self._changed(folder, there, without, state)):
                there = {name.rpartition("/")[2]: it for name, it in self.remote.objects(folder, deep=False).items()}
            come, gone = self._changed(folder, there, without, state)
            for name in [name for name in come if name != LAST]:
                self._fetch(folder, name, there[name], state)
            for name in gone:
                path, (_, *stamp) = self.path / folder / name, state.pop(name)
                if path.exists() and _stamp(path) == stamp:
                    path.unlink()
            for file in GROWING:
                self._put_together(folder, file, state)
            if LAST in come:
                self._fetch(folder, LAST, there[LAST], state)

    def _fetch(self, folder: str, name: str, known: Object, state: dict[str, Any]) -> None:
        path = self.path / folder / name
        if self.remote.fetch(_below(folder, name), path):
            os.utime(path, (known.written, known.written))  # parts are put together in this order
            state[name] = [known.tag, *_stamp(path)]

    def _changed(
        self, folder: str, there: Mapping[str, Object], without: Collection[str], state: Mapping[str, Any]
    ) -> tuple[list[str], list[str]]:
        """Of a folder's objects `there`: the names of those that are not here as they are there, and of the files that
        were removed there. What was removed here, and is still there until the next push, does not come back."""
        come = []
        for name, known in there.items():
            path, same = self.path / folder / name, state.get(name, [None])[0] == known.tag
            if _is_part(name):
                same = path.exists() and (name in self._own_parts or (same and path.stat().st_size >= state[name][1]))
            if _shared(name) and name not in without and not same:
                come.append(name)
        return come, [name for name in state if _shared(name) and name not in there]

    @property
    def _own_parts(self) -> tuple[str, ...]:
        return tuple(map(self.part, GROWING))

    def _put_together(self, folder: str, file: str, state: dict[str, Any]) -> None:
        """Append to a growing file the whole lines that its parts have gained."""
        whole = self.path / folder / file
        parts = sorted(whole.parent.glob(_part(file, "*")), key=lambda path: path.stat().st_mtime)
        size, known = state.get(f"/{file}", [0, {}])
        used = dict(known)  # what is noted before all is written would be missed
        if not parts:
            return
        if not whole.exists() or whole.stat().st_size < size:  # a power cut has taken what was noted
            size, used = 0, {}
        with open(whole, "ab") as out:
            out.truncate(size)  # what was appended by one who was killed before it was noted
            for part in parts:
                with open(part, "rb") as lines:
                    lines.seek(used.get(part.name, 0))
                    new = lines.read()
                new = new[: new.rfind(b"\n") + 1]
                out.write(new)
                size, used[part.name] = size + len(new), used.get(part.name, 0) + len(new)
        state[f"/{file}"] = [size, used]

    @contextmanager
    def _synced(self, folder: str) -> Iterator[dict[str, Any]]:
        """What is known of a folder's files: name -> the object's tag and the file's stamp when they were equal, and
        /FILE -> how far a growing file was put together. Kept when the block ends, however it ends."""
        (self.path / folder).mkdir(parents=True, exist_ok=True)
        path = self.path / folder / ".sync.json"
        with open(path.with_suffix(".lock"), "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            state: dict[str, Any] = {}
            with contextlib.suppress(FileNotFoundError, ValueError):
                state = json.loads(path.read_text(encoding="utf-8"))
            before = json.dumps(state)
            try:
                yield state
            finally:
                if (after := json.dumps(state)) != before:
                    write_text(path, after)


def _shared(name: str) -> bool:
    return name not in _HERE and not name.startswith((".", "/", "mlflow.db"))


def _part(file: str, machine: str) -> str:
    stem, _, suffix = file.rpartition(".")
    return f"{stem}.{machine}.{suffix}"


def _is_part(name: str) -> bool:
    return any(fnmatch(name, _part(file, "*")) for file in GROWING)


def _read(path: Path) -> tuple[list[int], bytes] | None:
    """A file's stamp and content, of one moment; None where there is none."""
    with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
        return _stamp_of(os.fstat(file.fileno())), file.read()
    return None


def _below(folder: str, name: str) -> str:
    return f"{folder}/{name}" if folder else name


def _stamp(path: Path) -> list[int]:
    return _stamp_of(path.stat())


def _stamp_of(status: os.stat_result) -> list[int]:
    return [status.st_size, status.st_mtime_ns]
