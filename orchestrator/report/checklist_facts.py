"""What the checklist is computed from, and what an item of it says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import yaml

from orchestrator.report.cells import Cell, Network, Result, is_proposal, networks
from orchestrator.spec.reading import read

State = Literal["pass", "fail", "not applicable", "unknown"]
"""Unknown: the results do not say."""


@dataclass(frozen=True)
class Item:
    """One demand of the checklist, and how a sweep meets it."""

    name: str
    state: State
    found: str
    """The numbers behind it."""
    remedy: str = ""
    """Where it fails: what to add to the spec, as YAML, or else what to do."""


@dataclass(frozen=True)
class Facts:
    """A sweep, as far as the checklist looks at it."""

    results: Sequence[Result]
    missing: Sequence[str]
    """Planned trials without a result."""
    spec: Mapping[str, Any]
    """Its YAML's content; empty where there is none."""

    @classmethod
    def of(cls, results: Sequence[Result], missing: Sequence[str], spec: str) -> Facts:
        """From the texts that lie in a sweep's folder."""
        content = read(spec).value
        return cls(results, missing, content if isinstance(content, dict) else {})

    @property
    def search(self) -> Mapping[str, Any]:
        """The spec's search; empty where it has none."""
        return self.spec.get("search") or {}

    @cached_property
    def networks(self) -> list[Network]:
        """What the tables compare: neither sanity checks nor a search's proposals."""
        return networks(self.results)

    @cached_property
    def done(self) -> list[Result]:
        """The trials that ended with a ticket and were tested, sanity checks included."""
        return [result for result in self.results if result["status"] == "done" and not is_proposal(result)]

    @cached_property
    def cells(self) -> list[tuple[str, Cell]]:
        """Every network, method and sparsity of the tables, by a name."""
        return [
            (f"{network.model} {label}" + (f" {percent(sparsity)}" if sparsity else ""), cell)
            for network in self.networks
            for (label, sparsity), cell in network.cells.items()
        ]


def percent(sparsity: float) -> str:
    """A sparsity as text: "90 %"."""
    return f"{100 * sparsity:.4g} %"


def named(names: Iterable[str], most: int = 3) -> str:
    """Some names in a row, and how many more there are."""
    found = list(dict.fromkeys(names))
    more = f" and {len(found) - most} more" if len(found) > most else ""
    return ", ".join(found[:most]) + more


def numbers(values: Iterable[float]) -> str:
    """Numbers as a list of YAML."""
    return f"[{', '.join(f'{value:g}' for value in values)}]"


def written(entry: Mapping[str, Any]) -> str:
    """A section with a name as a spec writes it in a line: the name alone, or a mapping. What is empty is left out."""
    own = {key: value for key, value in entry.items() if value not in (None, [], ())}
    if own.keys() == {"name"}:
        return str(own["name"])
    return str(yaml.safe_dump(own, default_flow_style=True, sort_keys=False, width=1_000)).strip()
