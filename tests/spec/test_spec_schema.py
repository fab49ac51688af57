"""The JSON schema agrees with what loads."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from orchestrator.spec import dump, load, ready, schema, template
from orchestrator.spec.reading import read

SOURCE: dict[str, Any] = {
    "name": "x", "data": "digits", "model": "convnet", "recipe": {"epochs": 1}, "methods": ["dense"],
    "sparsities": [0.5],
}  # fmt: skip


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    Draft202012Validator.check_schema(schema())
    return Draft202012Validator(schema())


@pytest.mark.parametrize("name", ready())
def test_shipped_specs_are_valid(validator: Draft202012Validator, name: str) -> None:
    validator.validate(load(name).raw)
    validator.validate(read(dump(load(name).require())).value)


def test_the_starter_is_valid(validator: Draft202012Validator) -> None:
    validator.validate(read(template()).value)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"data": {"name": "image_folder", "root": "x", "mean": [0.5]}},
        *({"data": name} for name in ("cifar10", "cifar100", "tiny_imagenet", "fake", "mine:load")),
        {"data": {"name": "imagenet", "root": "x", "mean": None, "size": 64}},
        {"data": {"name": "image_folder", "root": "x", "size": 64, "stream": True}},
        {"data": {"name": "fake", "shape": [1, 8, 8], "classes": 3}},
        {"data": {"name": "mine:load", "depth": 3, "kind": "a", "mean": [0.5]}},
        {"model": ["convnet", {"name": "resnet20", "width": 2, "kind": "a", "deep": True, "x": None}]},
        {"methods": ["snip", {"name": "random", "ratio": ["erk", "smart"]}]},
        {"methods": [{"name": "lottery", "fraction": [0.2, 0.5], "rewind_to": "2ep", "exact": False}]},
        {
            "recipe": {
                "epochs": 1,
                "schedule": {"name": "milestones", "at": ["1ep", "10it"], "warmup": "0.5ep"},
            }
        },
        {"concurrency": None, "seeds": [3]},
    ],
)
def test_what_loads_is_valid(validator: Draft202012Validator, change: dict[str, Any]) -> None:
    assert load(SOURCE | change).report() == []
    validator.validate(SOURCE | change)


@pytest.mark.parametrize(
    "change",
    [
        {"other": 1},
        {"data": "image_folder"},
        {"data": {"name": "digits", "root": "x"}},
        *({"data": name} for name in ("imagenet", "cifar", "module_factory")),
        {"data": {"name": "cifar10", "download": "no"}},
        {"data": {"name": "fake", "shape": [1, 8]}},
        {"data": {"name": "mine:load", "depth": [3]}},
        {"model": []},
        {"model": {"name": "x", "width": [1]}},
        {"methods": ["hybird"]},
        {"methods": [{"name": "random", "ratio": "erc"}]},
        {"methods": [{"name": "random", "fraction": 0.2}]},
        {"methods": [{"name": "lottery", "fraction": 2}]},
        {"methods": [{"name": "lottery", "rewind_to": "2"}]},
        {"recipe": {"epochs": 0}},
        {"recipe": {"epochs": "3"}},
        {"sparsities": ["a"]},
        {"sparsities": [1]},
        {"keep": "some"},
    ],
)
def test_what_does_not_load_is_not_valid(validator: Draft202012Validator, change: dict[str, Any]) -> None:
    assert load(SOURCE | change).report()
    assert not validator.is_valid(SOURCE | change)


def test_every_key_is_described() -> None:
    made = schema()
    assert made["$schema"].endswith("2020-12/schema")
    assert made["$defs"]["random.options"]["properties"]["ratio"]["description"].startswith("Layer-wise ratio")
    assert made["$defs"]["lottery.options"]["properties"]["fraction"]["default"] == 0.2
    assert made["$defs"]["lottery.options"]["properties"]["rewind_to"]["default"] == "0ep"
