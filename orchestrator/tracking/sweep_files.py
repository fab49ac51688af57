"""What stands in a sweep's folder for MLflow to be told, and how to see that a file has changed: no MLflow here."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

from orchestrator.engine.files import Corrupt, read_sealed
from orchestrator.engine.folder import parse_events
from orchestrator.engine.results import keys_of
from orchestrator.spec.reading import read

Stamp = tuple[int, ...]
"""Of a file as it was once; one that replaces it has another."""

_NAMES = ("spec.yaml", "results.csv", "report.html", "summary.md", "search/search.html", "search/summary.json")


class SweepFiles:
    """Reads the folder of a sweep, of which any part may be missing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._plan: tuple[Stamp, dict[str, Any]] = ((), {})

    def results(self) -> dict[str, Stamp]:
        """The trials that have a result, sorted, and its file as it is."""
        return self._stamps("result.json", ())

    def begun(self, ended: Container[str]) -> dict[str, Stamp]:
        """The trials that have begun, sorted, but for those that are known to have ended, and the file of what they
        said as it is."""
        return self._stamps("events.jsonl", ended)

    def _stamps(self, file: str, but: Container[str]) -> dict[str, Stamp]:
        found: dict[str, Stamp] = {}
        root = self.folder / "trials"
        for trial in sorted(os.listdir(root)) if root.exists() else ():  # of 10,000, a glob takes ten times as long
            if trial not in but:
                with contextlib.suppress(FileNotFoundError, NotADirectoryError, PermissionError):
                    found[trial] = stamp(f"{root}/{trial}/{file}")
        return found

    def result_path(self, trial: str) -> Path:
        """Where a trial's result stands."""
        return self.folder / "trials" / trial / "result.json"

    def events(self, trial: str) -> list[dict[str, Any]]:
        """What a trial's workers have said, in turn; nothing of one that has not begun."""
        try:
            return parse_events((self.folder / "trials" / trial / "events.jsonl").read_bytes())
        except FileNotFoundError:
            return []

    def plan(self) -> dict[str, Any]:
        """The plan of the sweep's last run; empty where there is none that can be read."""
        try:
            now = stamp(self.folder / "plan.json")
        except FileNotFoundError:
            return {}
        if self._plan[0] != now:  # of many trials it is megabytes
            self._plan = (now, self._sealed("plan.json"))
        return self._plan[1]

    def planned_keys(self) -> dict[str, str] | None:
        """The key of every planned trial's result; None where there is no plan, so that every result counts."""
        plan = self.plan()
        return keys_of(plan, self.folder) if plan else None

    def winners(self) -> list[dict[str, Any]]:
        """The winning tickets that the report names; none where there is no report."""
        return self._sealed("winners.json").get("winners", [])

    def _sealed(self, name: str) -> dict[str, Any]:
        try:
            return read_sealed(self.folder / name)
        except (FileNotFoundError, Corrupt):
            return {}

    def networks(self) -> list[Any]:
        """The networks that the spec names."""
        path = self.folder / "spec.yaml"
        content = read(path.read_text(encoding="utf-8")).value if path.exists() else None
        networks = content.get("model") if isinstance(content, Mapping) else None
        return networks if isinstance(networks, list) else [networks]

    def summary(self) -> str | None:
        """The text of the sweep's report."""
        path = self.folder / "summary.md"
        return path.read_text(encoding="utf-8") if path.exists() else None

    def search_summary(self) -> Path | None:
        """The file with the numbers of the sweep's search."""
        path = self.folder / "search" / "summary.json"
        return path if path.exists() else None

    def attached(self, ended: bool) -> list[Path]:
        """The sweep's own files that are there. The study is a database, whole only once the sweep has ended."""
        named = [self.folder / name for name in [*_NAMES, *(["search/study.db"] if ended else [])]]
        ratios = [path for path in sorted(self.folder.glob("ratios/**/*")) if not path.name.startswith(".")]
        return [path for path in [*named, *ratios] if path.is_file()]


def stamp(path: Path | str) -> Stamp:
    """Of a file as it is now. Raises FileNotFoundError."""
    found = os.stat(path)
    return found.st_ino, found.st_size, found.st_mtime_ns
