"""What tests of the engine share: a store, a bench, a folder of images, given weights, a folder of a sweep."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_folders import save
from safetensors.torch import save_file
from search_grounds import MakeGround
from trial_benches import dense, trial_bench

from orchestrator.engine.folder import SweepFolder
from orchestrator.engine.nets import build
from orchestrator.engine.search import Ground
from orchestrator.engine.setting import Setting
from orchestrator.engine.store import Store
from orchestrator.spec.models import Model, Spec

MakeSpec = Callable[..., Spec]


# The store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


# The bench of a running trial


@pytest.fixture
def spec(make_spec: MakeSpec) -> Spec:
    return make_spec(recipe={"epochs": 3, "augmentation": {"crop": 1}})


@pytest.fixture
def undisturbed(spec: Spec, tmp_path: Path) -> dict[str, torch.Tensor]:
    return dense(trial_bench(spec, tmp_path / "undisturbed"))


# A folder of images


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JACKPOT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two classes with four training and two test images each, 6 wide and 5 high."""
    draw = np.random.default_rng(0)
    for split, count in (("train", 4), ("test", 2)):
        for name in ("cat", "dog"):
            for i in range(count):
                pixels = draw.integers(0, 256, (5, 6, 3), dtype=np.uint8)
                save(tmp_path / "images" / split / name / f"{i}.png", pixels)
    return tmp_path / "images"


# Weights given


@pytest.fixture
def weights_file(tmp_path: Any) -> str:
    net = build(Model.model_validate({"name": "convnet", "width": 0.25}), 10, (1, 8, 8), 3)
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, tmp_path / "given.safetensors")
    return str(tmp_path / "given.safetensors")


# A sweep's folder


@pytest.fixture
def folder(tmp_path: Path) -> SweepFolder:
    return SweepFolder(tmp_path / "sweep")


# A search


@pytest.fixture
def ground(make_spec: Callable[..., Spec]) -> MakeGround:
    """The ground of a search with these keys."""

    def make(sections: dict[str, Any] | None = None, **search: Any) -> Ground:
        spec = make_spec(search={"method": "hybrid", "sparsity": 0.9, **search}, methods=[], **(sections or {}))
        return Ground(Setting(spec, spec.model[0]))

    return make
