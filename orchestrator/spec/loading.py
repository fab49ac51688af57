"""Loading a spec: everything that is wrong with it at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import Any

import yaml
from pydantic import ValidationError

from orchestrator.spec import overrides as setting
from orchestrator.spec.arms import find_arms
from orchestrator.spec.messages import spec_problems
from orchestrator.spec.models import Spec
from orchestrator.spec.problems import Path, Problem, SpecError, printable, show_path
from orchestrator.spec.reading import Dumper
from orchestrator.spec.sharing import said_of
from orchestrator.spec.sources import plain, read_source

# Stands in for the sections that are wrong, so that the right ones can be read without them.
_FILLER = {"name": "x", "data": "digits", "model": "x", "recipe": {"epochs": 1}, "methods": ["dense"]}


@dataclass
class Loaded:
    """A spec as far as it could be read, and all that is wrong with it."""

    origin: str
    """Where it came from, as errors name it."""
    spec: Spec | None = None
    """The spec, if nothing is wrong with it."""
    problems: list[Problem] = field(default_factory=list)
    parts: dict[str, Any] = field(default_factory=dict)
    """The top-level sections without a problem, so that others can be checked although one is wrong."""
    raw: dict[str, Any] = field(default_factory=dict)
    """What was written, overrides included."""
    lines: dict[Path, int] = field(default_factory=dict)
    """The line of every key and entry in the file."""
    overridden: dict[Path, str] = field(default_factory=dict)
    """The override that wrote each overridden path."""

    def describe(self, problem: Problem) -> str:
        """`search_spaces/x.yaml:12: methods[2].name: unknown method ...`; `--set KEY=VALUE: ...` where an
        override wrote what is wrong."""
        path = self._written(problem.path)
        known = self._known(path)
        origin = self.origin
        if known in self.overridden:
            origin = f"--set {self.overridden[known]}"
        elif known in self.lines:
            origin = f"{self.origin}:{self.lines[known]}"
        return printable(": ".join(part for part in (origin, show_path(path), problem.message) if part))

    def report(self, more: Iterable[Problem] = ()) -> list[str]:
        """All problems, and `more` that others found, one line each, in the file's order."""
        return [self.describe(problem) for problem in sorted([*self.problems, *more], key=self._position)]

    def require(self) -> Spec:
        """The spec. Raises SpecError with all that is wrong."""
        if self.spec is None:
            raise SpecError(self.report())
        return self.spec

    def _written(self, path: Path) -> Path:
        """`path` without the index of a network that stands alone instead of in a list."""
        alone = path[:2] == ("model", 0) and not isinstance(self.raw.get("model"), list)
        return ("model", *path[2:]) if alone else path

    def _known(self, path: Path) -> Path:
        """The longest part of `path` that the file or an override wrote."""
        return next((p for p in _prefixes(path) if p in self.overridden or p in self.lines), ())

    def _position(self, problem: Problem) -> float:
        known = self._known(self._written(problem.path))
        return math.inf if known in self.overridden else self.lines.get(known, 0)


def load(source: str | PathLike | Mapping[str, Any] | Spec, overrides: Sequence[str] = ()) -> Loaded:
    """Read a spec from a path, by the name of a ready one in `search_spaces`, or from a dict or Spec; then
    write `overrides` ("recipe.epochs=3") over it. A bad spec never raises: see `problems` and `require`.
    Raises TypeError if `source` is none of these."""
    origin, text = read_source(source)
    loaded = Loaded(origin, problems=text.problems, lines=text.lines)
    if text.value is not None:
        loaded.raw = text.value
        _override(loaded, overrides)
        _validate(loaded)
    return loaded


def dump(spec: Spec) -> str:
    """The spec with every default written out, as YAML that loads to an equal one."""
    return yaml.dump(plain(spec, (), []), Dumper=Dumper, sort_keys=False, default_flow_style=None, width=100)


def _prefixes(path: Path) -> list[Path]:
    """`path` and all that leads to it, longest first."""
    return [path[:length] for length in range(len(path), -1, -1)]


def _override(loaded: Loaded, overrides: Sequence[str]) -> None:
    for text in overrides:
        path, value, wrong = setting.parse(text)
        problems = [Problem(path, message) for message in wrong]
        if not wrong and (problem := setting.put(loaded.raw, path, value)):
            problems = [problem]
        if not problems:  # what stood below the path before is gone, and so is what was wrong with it
            loaded.lines = {known: line for known, line in loaded.lines.items() if known[: len(path)] != path}
            loaded.overridden = {k: v for k, v in loaded.overridden.items() if k[: len(path)] != path}
            loaded.problems = [p for p in loaded.problems if p.path[: len(path)] != path]
        loaded.overridden[path] = said_of(text)
        loaded.problems += problems


def _validate(loaded: Loaded) -> None:
    """Check the shape of every section, then the methods' options, and keep what is right."""
    raw = loaded.raw
    if "model" in raw and not isinstance(raw["model"], list):
        raw = {**raw, "model": [raw["model"]]}
    try:
        Spec.model_validate(raw)
    except ValidationError as error:
        said = {loaded._written(problem.path) for problem in loaded.problems} - {()}
        loaded.problems += [
            problem
            for problem in spec_problems(error, raw)
            if said.isdisjoint(_prefixes(loaded._written(problem.path)))
        ]
    loaded.problems += _method_problems(raw, loaded.problems)
    wrong = {problem.path[0] for problem in loaded.problems if problem.path}
    right = {key: value for key, value in raw.items() if key in Spec.model_fields and key not in wrong}
    filler = {key: value for key, value in _FILLER.items() if key in wrong or key != "methods"}
    spec = Spec.model_validate({**filler, **right})
    loaded.parts = {key: getattr(spec, key) for key in Spec.model_fields if key not in wrong}
    loaded.spec = None if loaded.problems else spec


def _method_problems(raw: dict[str, Any], problems: Sequence[Problem]) -> list[Problem]:
    """What is wrong with the options of those methods whose shape is right."""
    from methods import registry

    wrong = [problem.path for problem in problems if problem.path[:1] == ("methods",)]
    if ("methods",) in wrong:
        return []
    if not raw.get("methods") and not raw.get("search"):
        empty = "expected a list of at least 1, found an empty list"
        return [Problem(("methods",), empty if "methods" in raw else "missing, e.g. `methods: [dense, random]`")]
    entries = raw.get("methods", [])
    methods = {i: entry for i, entry in enumerate(entries) if i not in {path[1] for path in wrong}}
    read = Spec.model_validate({**_FILLER, "methods": list(methods.values())}).methods if methods else []
    arms, faults = find_arms(dict(zip(methods, read, strict=True)))
    needy = next((arm.name for arm in arms if registry.get(arm.name).per_sparsity), None)
    if needy and raw.get("sparsities", []) == []:
        faults.append(Problem(("sparsities",), f"{needy!r} needs some, e.g. `sparsities: [0.9, 0.95, 0.98]`"))
    return faults
