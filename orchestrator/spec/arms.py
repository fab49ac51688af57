"""From a spec's methods to arms: one a value of every grid, each with all its options and a label."""

from __future__ import annotations

import json
import math
import re
import types
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from orchestrator.spec.messages import option_problems
from orchestrator.spec.method import Method
from orchestrator.spec.models import Spec
from orchestrator.spec.problems import Path, Problem, SpecError, printable, show_path

MAX_GRID = 1_000
_MAX_LABEL = 80


@dataclass(frozen=True)
class Arm:
    """One method with one set of options: a row of the results."""

    name: str
    """The method."""
    label: str
    """The method's name and the options that were written, fit for a folder's name; unique in a spec."""
    options: dict[str, Any]
    """Every option as JSON, defaults included."""
    check: str | None = None
    """The sanity check that its tickets are put to."""

    @property
    def unchecked(self) -> str:
        """The label of the arm without its sanity check."""
        return self.label.removesuffix(f"+{self.check}")


def expand(method: Method) -> list[Arm]:
    """The arms of one entry of `methods`: an option given as a list is a grid, unless it takes a list itself.
    Raises SpecError with all that is wrong."""
    return _arms_or_error([method])


def arms(spec: Spec) -> list[Arm]:
    """All arms of a spec, in the order written. Raises SpecError with all that is wrong."""
    return _arms_or_error(spec.methods)


def find_arms(methods: Mapping[int, Method]) -> tuple[list[Arm], list[Problem]]:
    """The arms of a spec's methods, each by its place in the list, and what is wrong with them."""
    from methods import registry

    found: list[tuple[int, Arm]] = []
    problems: list[Problem] = []
    for i, method in methods.items():
        try:
            options = registry.get(method.name).Options
        except registry.UnknownMethod as error:
            problems.append(Problem(("methods", i, "name"), str(error)))
            continue
        made, wrong = _expand(method, options)
        found += [(i, arm) for arm in made]
        problems += [Problem(("methods", i, *problem.path), problem.message) for problem in wrong]
    return [arm for _, arm in found], problems + list(_repeats(found))


def label(name: str, written: dict[str, Any]) -> str:
    """`name` and the options written: text alone, other values after their key, fit for a folder's name."""
    parts = [value if isinstance(value, str) else f"{key}{json.dumps(value)}" for key, value in written.items()]
    return re.sub(r"[^A-Za-z0-9._=-]+", "_", "-".join([name, *parts]))[:_MAX_LABEL]


def _arms_or_error(methods: Sequence[Method]) -> list[Arm]:
    found, problems = find_arms(dict(enumerate(methods)))
    if problems:
        raise SpecError([printable(f"{show_path(problem.path)}: {problem.message}") for problem in problems])
    return found


def _expand(method: Method, options: type[BaseModel]) -> tuple[list[Arm], list[Problem]]:
    grids = {key: _values(key, value, options) for key, value in method.options.items()}
    if empty := [key for key, values in grids.items() if not values]:
        return [], [Problem((key,), "expected at least one value, found an empty list") for key in empty]
    if (size := math.prod(map(len, grids.values()))) > MAX_GRID:
        return [], [Problem((), f"the lists make a grid of {size:,} arms; at most {MAX_GRID:,} are allowed")]
    made: list[Arm] = []
    problems: dict[Problem, None] = {}  # each once, though it shows at every point of the grid
    for point in product(*grids.values()):
        written = {key: value for key, (_, value) in zip(grids, point, strict=True)}
        where = {key: path for key, (path, _) in zip(grids, point, strict=True)}
        try:
            # as JSON, whose strict reading takes a list for a tuple, but no text for a number
            valid = options.model_validate_json(json.dumps(written), strict=True)
        except ValidationError as error:
            for problem in option_problems(error, written, options):
                key, rest = problem.path[:1], problem.path[1:]
                path = (*where.get(str(key[0]), key), *rest) if key else ()
                problems[Problem(path, problem.message)] = None
            continue
        in_order = {key: written[key] for key in options.model_fields if key in written}
        arm = Arm(method.name, label(method.name, in_order), valid.model_dump(mode="json"))
        made += [arm, *(replace(arm, label=f"{arm.label}+{check}", check=check) for check in method.checks)]
    return made, list(problems)


def _values(key: str, value: Any, options: type[BaseModel]) -> list[tuple[Path, Any]]:
    """The values that an option takes in turn, each with its path."""
    field = options.model_fields.get(key)
    if not isinstance(value, list) or (field and _takes_list(field.annotation)):
        return [((key,), value)]
    return [((key, i), each) for i, each in enumerate(value)]


def _takes_list(annotation: Any) -> bool:
    if get_origin(annotation) in (Union, types.UnionType):
        return any(map(_takes_list, get_args(annotation)))
    return (get_origin(annotation) or annotation) in (list, tuple, set, frozenset)


def _repeats(found: Iterable[tuple[int, Arm]]) -> Iterable[Problem]:
    """Arms that would train the same thing twice, and arms that share a label."""
    same: dict[str, tuple[int, Arm]] = {}
    labels: dict[str, int] = {}
    for i, arm in found:
        first, twin = same.setdefault(json.dumps([arm.name, arm.options, arm.check]), (i, arm))
        if twin is not arm:
            shown = ", ".join(f"{key} {json.dumps(value)}" for key, value in arm.options.items()) or "no options"
            yield Problem(
                ("methods", i),
                f"{arm.label!r} is {twin.label!r} of methods[{first}] again ({shown}); remove one",
            )
        elif arm.label in labels:
            message = f"the label {arm.label!r} is taken by methods[{labels[arm.label]}]; write one more option out"
            yield Problem(("methods", i), message)
        labels.setdefault(arm.label, i)
