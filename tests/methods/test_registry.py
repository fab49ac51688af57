"""The methods by name: built in, added by a package, broken."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from methods import registry
from methods.bench import Ticket, Workbench
from methods.method import Method
from methods.random import Random


class Good(Method):
    name, ticket, summary, paper, uses_data = "good", "random", "s", "p", False

    def find(self, bench: Workbench) -> Ticket:
        raise NotImplementedError


class Taken(Good):
    name = "snip"


class Misnamed(Good):
    name = "other"


class Bare(Method):
    name = "bare"

    def find(self, bench: Workbench) -> Ticket:
        raise NotImplementedError


class _Point:
    def __init__(self, name: str, loaded: Any) -> None:
        self.name, self.value, self._loaded = name, f"package:{name}", loaded

    def load(self) -> Any:
        if isinstance(self._loaded, Exception):
            raise self._loaded
        return self._loaded


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package with one good method and one of each fault."""
    points = [
        _Point("good", Good), _Point("snip", Taken), _Point("misnamed", Misnamed), _Point("bare", Bare),
        _Point("text", "no class"), _Point("absent", ImportError("No module named 'jax'")),
    ]  # fmt: skip
    monkeypatch.setattr(registry, "entry_points", lambda group: points if group == "jackpot.methods" else [])
    registry._load_all.cache_clear()
    yield
    registry._load_all.cache_clear()


def test_built_in_methods_come_first() -> None:
    assert registry.names()[: len(registry.BUILT_IN)] == [*registry.BUILT_IN]
    assert registry.get("random") is Random
    for name in registry.names():
        method = registry.get(name)
        assert method.name == name
        assert method.ticket in ("dense", "random", "initial", "partially-trained", "hybrid", "during-training")


def test_a_packages_method_is_found_and_a_broken_one_takes_no_other_down(installed: None) -> None:
    assert registry.names() == [*registry.BUILT_IN, "good"]
    assert registry.get("good") is Good
    assert registry.get("snip").__module__ == "methods.snip"
    assert registry.broken() == {
        "absent = package:absent": "ImportError: No module named 'jax'",
        "bare = package:bare": "TypeError: lacks ticket, summary, paper, uses_data",
        "misnamed = package:misnamed": "ValueError: its class is named 'other'",
        "snip = package:snip": "ValueError: a method named 'snip' exists already (methods.snip)",
        "text = package:text": "TypeError: not a subclass of methods.method.Method",
    }


def test_an_unknown_name_is_told_the_nearest(installed: None) -> None:
    with pytest.raises(
        registry.UnknownMethod, match=r"unknown method 'lotery'; did you mean 'lottery'\? known: dense,"
    ):
        registry.get("lotery")
    with pytest.raises(
        registry.UnknownMethod, match=rf"unknown method 'zzz'; known: {', '.join(registry.BUILT_IN)}, good$"
    ):
        registry.get("zzz")


def test_a_name_whose_plugin_is_broken_is_told_why(installed: None) -> None:
    with pytest.raises(registry.UnknownMethod, match="the plugin absent = package:absent could not be loaded: Import"):
        registry.get("absent")


def test_the_registry_loads_no_method_before_one_is_asked_for() -> None:
    code = (
        "import sys, methods.registry; print(sorted(m for m in sys.modules if m in ('methods.snip', 'methods.random')))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"
