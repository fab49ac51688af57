"""What tests of several folders share: small specs on the real digits, and methods of a plugin."""

from __future__ import annotations

import importlib
import itertools
import os
import sys
import tempfile
import textwrap
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from object_store import SETTINGS, object_store

from methods import registry
from orchestrator.engine.source import source_hash
from orchestrator.spec.models import Spec

RECIPE = {"epochs": 2, "batch": 256, "lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3}
_numbers = itertools.count()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The slow tests first, so that at the end no process works on one of them while the others are idle."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(autouse=True, scope="session")
def one_thread() -> None:
    """Several test processes share few cores; and one thread makes sums the same on any machine.

    The first backward pass of a process counts its devices. torch.export registers one more that does not exist, for
    which a first pass after it starts a thread; and then no process that a test forks may train."""
    torch.set_num_threads(1)
    torch.ones(1, requires_grad=True).sum().backward()


@pytest.fixture(scope="session")
def needs_system() -> Callable[[bool, str], None]:
    """Skips a test where something of the system is not there; in CI, which installs it, that is a failure."""

    def needs(there: bool, what: str) -> None:
        if not there:
            (pytest.fail if os.environ.get("JACKPOT_REQUIRE_SYSTEM") else pytest.skip)(f"needs {what}")

    return needs


@pytest.fixture
def hears_nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No other process of this machine measures a latency: who waits for one asks again and again whether to stop,
    which a test that counts these looks would take for its own."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # where the locks lie


@pytest.fixture
def make_spec() -> Callable[..., Spec]:
    """A small spec on digits: 6 steps an epoch, 2 epochs, a net of 1,608 prunable weights. Sections given
    replace the default's; keys of `recipe` are merged into it."""

    def make(recipe: dict[str, Any] | None = None, **sections: Any) -> Spec:
        default = {
            "name": "small",
            "data": "digits",
            "model": {"name": "convnet", "width": 0.25},
            "methods": ["random"],
            "sparsities": [0.9],
            "latency": {"enabled": False},  # seconds; the tests of latency ask for it
        }
        return Spec.model_validate({**default, **sections, "recipe": {**RECIPE, **(recipe or {})}})

    return make


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of an object store on this machine."""
    with object_store() as address:
        yield address


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of a new bucket, which the environment says how to reach, as a user would."""
    import boto3

    for name, value in {**SETTINGS, "AWS_ENDPOINT_URL": s3_server}.items():
        monkeypatch.setenv(name, value)
    name = f"sweeps-{uuid.uuid4().hex[:12]}"
    boto3.client("s3").create_bucket(Bucket=name)
    return f"s3://{name}"


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], str]]:
    """Writes a module that defines `class Plugin(Method)`, registers it as an installed package's method would
    be, and gives its name. Writing under the same name again stands for an edit of the source."""
    folder = tmp_path / "plugins"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    built_in, broken = registry._load_all()
    known = dict(built_in)
    monkeypatch.setattr(registry, "_load_all", lambda: (known, broken))
    head = "import torch\nfrom methods.bench import Ticket\nfrom methods.method import Method\n\n\n"
    modules: list[str] = []

    def write(text: str, name: str | None = None) -> str:
        name = name or f"plugin{next(_numbers)}"
        (folder / f"{name}.py").write_text(head + textwrap.dedent(text).replace("NAME", name))
        source_hash.cache_clear()
        importlib.invalidate_caches()
        modules.append(name)
        sys.modules.pop(name, None)
        method = importlib.import_module(name).Plugin
        method.name, method.ticket, method.summary, method.paper, method.uses_data = name, "random", "", "", False
        known[name] = method
        return name

    yield write
    for name in modules:
        sys.modules.pop(name, None)
    source_hash.cache_clear()
