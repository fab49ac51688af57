"""pydantic's errors in the words of a spec's author: what was expected, what was found, the nearest name."""

from __future__ import annotations

import re
import types
from collections.abc import Callable
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from orchestrator.spec import models, search
from orchestrator.spec.data import DATA_SETS, data_set
from orchestrator.spec.problems import Path, Problem, found, nearest

# What a value should have been, by the kind of pydantic's error.
_TYPES = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "is_instance_of": "a number",
    "decimal_type": "a number",
    "decimal_parsing": "a number",
    "string_type": "text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping",
}
_BOUNDS: dict[str, Callable[[dict[str, Any]], str]] = {
    "greater_than": lambda context: f"a number above {context['gt']:g}",
    "greater_than_equal": lambda context: f"a number not below {context['ge']:g}",
    "less_than": lambda context: f"a number below {context['lt']:g}",
    "less_than_equal": lambda context: f"a number not above {context['le']:g}",
    "decimal_max_places": lambda context: f"at most {context['decimal_places']} decimals",
    "too_short": lambda context: f"a list of at least {context['min_length']}",
    "too_long": lambda context: f"a list of at most {context['max_length']}",
    "string_too_short": lambda context: "some text",
    "string_too_long": lambda context: f"at most {context['max_length']} characters",
}


def spec_problems(error: ValidationError, raw: Any) -> list[Problem]:
    """What is wrong with a whole spec, as written in `raw`."""
    return _problems(error, raw, lambda path: section_at(path, raw))


def option_problems(error: ValidationError, written: dict[str, Any], options: type[BaseModel]) -> list[Problem]:
    """What is wrong with the options of a method; the paths start at the options."""
    return _problems(error, written, lambda path: None if path else options)


def section_at(path: Path, raw: Any) -> type[BaseModel] | None:
    """The model of a section, e.g. Schedule for ("recipe", "schedule"); None where no section lies."""
    if path == ("data",):
        named = raw["data"]
        return DATA_SETS.get(data_set(named if isinstance(named, dict) else {"name": named}) or "")
    section: Any = models.Spec
    for key in path:
        if isinstance(key, int):  # an entry of a list
            section = _bare(next(iter(get_args(section)), None))
        else:
            section = (
                _bare(section.model_fields[key].annotation) if key in getattr(section, "model_fields", ()) else None
            )
    if isinstance(section, type) and issubclass(section, BaseModel):
        return section
    return None


def _bare(annotation: Any) -> Any:
    """An annotation without what pydantic reads beside it, and without its None."""
    if get_origin(annotation) is Annotated:
        return _bare(get_args(annotation)[0])
    if get_origin(annotation) in (Union, types.UnionType):
        members = [each for each in get_args(annotation) if each is not type(None)]
        return _bare(members[0]) if len(members) == 1 else annotation
    return annotation


def _problems(error: ValidationError, raw: Any, section: Callable[[Path], type[BaseModel] | None]) -> list[Problem]:
    places: dict[Path, list[ErrorDetails]] = {}
    for detail in error.errors():
        if detail["type"] == "too_short" and detail["input"]:
            continue  # pydantic counts only the entries that are right; what is wrong with the others is said
        places.setdefault(_place(detail, raw), []).append(detail)
    problems = []
    for path, details in places.items():
        if len(details) > 1 and any(other[: len(path)] == path != other for other in places):
            continue  # a union of a value and a list: what is wrong inside the list says it
        problems.append(Problem(path, _message(path, details, section(path[:-1]))))
    return problems


def _place(detail: ErrorDetails, raw: Any) -> Path:
    """Where in `raw` an error lies, without the members of unions that pydantic names on the way."""
    path: Path = ()
    for key in detail["loc"]:
        inside = key in raw if isinstance(raw, dict) else isinstance(raw, list) and key in range(len(raw))
        if inside:
            raw, path = raw[key], (*path, key)
    return (*path, detail["loc"][-1]) if detail["type"] == "missing" else path


def _message(path: Path, details: list[ErrorDetails], section: type[BaseModel] | None) -> str:
    detail = details[0]
    kind, value, context = detail["type"], detail["input"], detail.get("ctx", {})
    if kind == "missing":
        return f"missing{_example(str(path[-1]), section)}"
    if kind == "extra_forbidden":
        return _unknown_key(str(path[-1]), section)
    if kind == "value_error":
        return str(context["error"])
    if kind == "union_tag_not_found":
        if not isinstance(value, dict):
            return f"expected the name of a data set, or a mapping with its name and options, {found(value)}"
        return f"needs a `name`, one of {', '.join(DATA_SETS)}"
    if kind == "union_tag_invalid":
        return _unknown_value(value["name"], list(DATA_SETS))
    if kind == "literal_error":
        return _unknown_value(value, [word.strip("'") for word in re.split(r", | or ", context["expected"])])
    *most, last = dict.fromkeys(_expected(each) for each in details)
    expected = f"{', '.join(most)} or {last}" if most else last
    removed = path[:1] == ("sparsities",) or path[:2] == ("search", "sparsity")
    if removed and kind == "less_than" and 2 <= value < 100:
        return f"expected {expected}, {found(value)}; write {float(value) / 100:g} for {value} % removed"
    return f"expected {expected}, {found(value)}{_remedy(kind, value, len(details))}"


def _expected(detail: ErrorDetails) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in _BOUNDS:
        return _BOUNDS[kind](context)
    if kind == "model_type" and context["class_name"] in ("Model", "Method", "Chosen"):
        return "a name, or a mapping with a name and options"
    if kind == "model_type":
        section = getattr(models, context["class_name"], None) or getattr(search, context["class_name"])
        return f"a section with the keys {', '.join(section.model_fields)}"
    # what only a plugin's options can raise
    return _TYPES.get(kind) or re.sub(r"^\w+ should (be|have|match) ", "", detail["msg"])


def _remedy(kind: str, value: Any, members: int) -> str:
    scalar = isinstance(value, (bool, int, float, str))
    if kind in ("list_type", "tuple_type") and members == 1 and scalar:
        return f"; write {_flow([value])}"
    if kind == "string_type" and members == 1 and scalar:
        return f"; quote it: '{_flow(value)}'"
    return ""


def _unknown_value(value: Any, allowed: list[str]) -> str:
    if not isinstance(value, str):
        return f"expected one of {', '.join(allowed)}, {found(value)}"
    return f"unknown value {value!r}{nearest(value, allowed)} allowed: {', '.join(allowed)}"


def _unknown_key(key: str, section: type[BaseModel] | None) -> str:
    known = list(section.model_fields) if section else []
    message = f"unknown key{nearest(key, known)} known: {', '.join(known) or 'none'}"
    for name, field in models.Spec.model_fields.items() if section is models.Spec else ():
        if key in getattr(field.annotation, "model_fields", {}):
            return f"unknown key; it belongs into the section {name!r}"
    return message


def _example(key: str, section: type[BaseModel] | None) -> str:
    field = section.model_fields.get(key) if section else None
    if key == "name" and not (field and field.examples):  # of a network or a method, which take any key
        return "; a mapping here needs one"
    if field is None or not field.examples:
        return ""
    return f", e.g. `{key}: {_flow(field.examples[0])}`"


def _flow(value: Any) -> str:
    """A value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000)
    return text.removesuffix("\n").removesuffix("\n...")
