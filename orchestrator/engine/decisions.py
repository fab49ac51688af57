"""What a search has decided on its way: a line each, kept before anything runs, so that a search that was interrupted
goes on from what it knew."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from orchestrator.engine.files import patiently


@dataclass(frozen=True)
class Decided:
    """A trial that was decided on: a proposal, or a finalist."""

    trial: str
    key: str
    options: dict[str, Any]
    """Of the method: the ratios."""
    sparsity: str
    number: int
    """Of the proposal; of a finalist, the proposal's whose ratios it has."""
    place: int | None = None
    """Of a finalist: 1 is the best. None for a proposal, and for a formula at a finalist's sparsity 0."""
    seed: int = 0
    point: dict[str, float] = field(default_factory=dict)
    """A proposal's coordinates."""
    attrs: dict[str, Any] = field(default_factory=dict)
    """What the sampler noted of the proposal."""
    study_attrs: dict[str, Any] = field(default_factory=dict)
    """What the sampler noted of the study, as of this proposal."""


class Decisions:
    """The decisions in a sweep's folder that belong to one search; those of a search that was defined otherwise stay in
    the file and count no more."""

    def __init__(self, folder: Path, definition: str) -> None:
        self.path, self.definition = folder / "search" / "decisions.jsonl", definition
        self.proposals: dict[int, Decided] = {}
        self.finalists: list[Decided] = []
        self.hours: float | None = None
        """The time limit that ended the search when the finalists were chosen; None where none did."""
        self.others = 0
        """Proposals of searches defined otherwise."""
        for line in self.path.read_bytes().splitlines() if self.path.exists() else ():
            self._read(line)

    def _read(self, line: bytes) -> None:
        try:
            said = json.loads(line)
            mine = said["search"] == self.definition
            if "finalists" in said:
                found = [Decided(**each) for each in said["finalists"]]
                if mine:
                    self.finalists, self.hours = found, said.get("hours")
            else:
                proposal = Decided(**said["proposal"])
                if mine:
                    self.proposals.setdefault(proposal.number, proposal)
                else:
                    self.others += 1
        except (ValueError, TypeError, KeyError, RecursionError):
            return  # a killed driver may leave its last line unfinished: what it decided was not begun

    def propose(self, proposal: Decided) -> None:
        """Keep a proposal."""
        self._write({"proposal": asdict(proposal)})
        self.proposals[proposal.number] = proposal

    def choose(self, finalists: list[Decided], hours: float | None = None) -> None:
        """Keep the finalists, in place of those before, and the time limit that ended the search, if one did."""
        if (finalists, hours) != (self.finalists, self.hours):
            self._write({"finalists": [asdict(each) for each in finalists], "hours": hours})
            self.finalists, self.hours = finalists, hours

    @property
    def all(self) -> list[Decided]:
        """Every trial that was decided on and counts."""
        return [*self.proposals.values(), *self.finalists]

    def _write(self, said: Mapping[str, Any]) -> None:
        line = "\n" + json.dumps({"search": self.definition, **said}) + "\n"

        def write() -> None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(line)

        patiently(write)  # what is decided on is part of the plan already
