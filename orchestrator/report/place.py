"""Where on a page a sweep stands, and how a number there leads to its trials."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from orchestrator.report import html
from orchestrator.report.cells import Cell, Result, accuracy


@dataclass(frozen=True)
class Place:
    """A sweep's part of a page."""

    prefix: str = ""
    """Of its anchors: two sweeps of one page may have a trial of the same name."""
    level: int = 2
    """Of its sections' headings."""
    folder: str | None = None
    """The address of the sweep's folder from the page, with a slash at its end; None where nobody can tell."""
    page: str = ""
    """The address of the page that lists all trials, where it is another."""

    def section(self, title: str) -> str:
        """A section's heading."""
        return html.heading(title, self.level, self.prefix)

    def part(self, title: str) -> str:
        """The heading of a part of a section; it stands in no table of contents."""
        return f"<h{self.level + 1}>{html.text(title)}</h{self.level + 1}>"

    def anchor(self, trial: str) -> str:
        """The id of a trial's row among all trials."""
        return f"{self.prefix}trial-{trial}"

    def trial(self, trial: str, shown: str = "") -> str:
        """A link to a trial's row, by its id or another name."""
        return html.link(shown or trial, self._row(trial))

    def _row(self, trial: str) -> str:
        return f"{self.page}#{html.fragment(self.anchor(trial))}"

    def files(self, trial: str) -> str:
        """A link to a trial's folder; its id alone where the folder's address is not known."""
        if self.folder is None:
            return trial
        return html.link(trial, f"{self.folder}trials/{quote(trial, safe='')}/", "folder")

    def alike(self, shown: str, results: Iterable[Result]) -> str:
        """A link from what was computed of trials of one network, method and sparsity to all of these: without
        scripts to the first of them. The text alone where there is none."""
        first = next(iter(results), None)
        if first is None or not shown:
            return shown
        return html.link(shown, self._row(first["trial"]), "alike")

    def accuracy(self, cell: Cell) -> str:
        """A cell's accuracy, linked to its trials."""
        return self.alike(accuracy(cell), cell.results)


def places(folders: Sequence[Path], page: Path) -> list[Place]:
    """The places of sweeps on the page at a path, in order."""
    return [
        Place(
            f"sweep{i + 1}-" if i else "",
            2 if len(folders) == 1 else 3,
            _address(folder, page.absolute().parent),
        )
        for i, folder in enumerate(folders)
    ]


def _address(folder: Path, of_page: Path) -> str:
    relative = Path(os.path.relpath(folder, of_page)).as_posix()
    return "" if relative == "." else f"{quote(relative)}/"
