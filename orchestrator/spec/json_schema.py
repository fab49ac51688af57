"""The JSON schema of a spec, with which editors complete and check one while it is written."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from methods.step import Step
from orchestrator.spec.data import DATA_SETS, USERS
from orchestrator.spec.models import Spec

DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Generator(GenerateJsonSchema):
    """Shows decimals as the numbers and steps as the text that a spec holds."""

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        bounds: Any = {key: value for key, value in schema.items() if key in ("gt", "ge", "lt", "le")}
        return self.float_schema({"type": "float", **bounds})

    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, Decimal):
            return float(dft)
        return str(dft) if isinstance(dft, Step) else super().encode_default(dft)


def schema() -> dict[str, Any]:
    """Schema of a spec's YAML in draft 2020-12, with the options of every method that is installed."""
    made = Spec.model_json_schema(schema_generator=_Generator)
    definitions, properties = made["$defs"], made["properties"]
    network = {"anyOf": [{"type": "string", "minLength": 1}, {"$ref": "#/$defs/Model"}]}
    properties["model"] |= {"anyOf": [network, {"type": "array", "items": network, "minItems": 1}]}
    for key in ("type", "items", "minItems"):
        properties["model"].pop(key)
    # a data set with a required key cannot be written as its name alone
    sections = {name: definitions[section.__name__] for name, section in DATA_SETS.items()}
    short = [name for name, each in sections.items() if name != USERS and set(each.get("required", [])) <= {"name"}]
    properties["data"] = {
        "title": "Data",
        "description": "The images.",
        "examples": properties["data"]["examples"],
        "anyOf": [
            {"enum": short},
            {"type": "string", "pattern": ":"},
            *({"$ref": f"#/$defs/{section.__name__}"} for section in DATA_SETS.values()),
        ],
    }
    checks = definitions.pop("Method")["properties"]["checks"]
    definitions |= _methods(checks)
    properties["methods"]["items"] = {"$ref": "#/$defs/Methods"}
    searched = definitions["Search"]["properties"]
    searched["method"] = {"$ref": "#/$defs/Methods"}
    for key, each in (("space", "Chosen"), ("sampler", "Chosen")):
        searched[key] = {**searched[key], "anyOf": [{"type": "string", "minLength": 1}, {"$ref": f"#/$defs/{each}"}]}
        searched[key].pop("$ref", None)
    objective = {"anyOf": [{"type": "string", "minLength": 1}, {"$ref": "#/$defs/Objective"}]}
    searched["objectives"]["items"] = objective
    share = searched["sparsity"]["items"]
    searched["sparsity"] = {**_told(searched["sparsity"]), "anyOf": [share, _untold(searched["sparsity"])]}
    return {"$schema": DIALECT, **made, "title": "A sweep of Jackpot"}


def _methods(checks: dict[str, Any]) -> dict[str, Any]:
    """The definition `Methods`, any method by name or with options and `checks`, and what it refers to."""
    from methods import registry

    definitions: dict[str, Any] = {}
    forms: list[dict[str, Any]] = []
    for name in registry.names():
        method = registry.get(name)
        options = method.Options.model_json_schema(
            schema_generator=_Generator, ref_template=f"#/$defs/{name}.{{model}}"
        )
        definitions |= {f"{name}.{inner}": value for inner, value in options.pop("$defs", {}).items()}
        definitions[f"{name}.options"] = {
            **options,
            "title": name,
            "description": method.summary,
            "properties": {
                "name": {"const": name},
                "checks": checks,
                **{key: _or_grid(value) for key, value in options.get("properties", {}).items()},
            },
            "required": ["name", *options.get("required", [])],
        }
        forms.append({"$ref": f"#/$defs/{name}.options"})
    return {"Methods": {"anyOf": [{"enum": registry.names()}, *forms]}, **definitions}


def _or_grid(option: dict[str, Any]) -> dict[str, Any]:
    """An option, or a list of values to try each; an option that takes a list itself has no grid."""
    if any(form.get("type") == "array" for form in [option, *option.get("anyOf", [])]):
        return option
    value = _untold(option)
    return {**_told(option), "anyOf": [value, {"type": "array", "items": value, "minItems": 1}]}


def _told(option: dict[str, Any]) -> dict[str, Any]:
    """What a schema says to people."""
    return {key: option[key] for key in ("title", "description", "default") if key in option}


def _untold(option: dict[str, Any]) -> dict[str, Any]:
    """A schema without what it says to people."""
    return {key: option[key] for key in option if key not in _told(option)}
