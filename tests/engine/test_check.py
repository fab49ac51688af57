"""What only networks, data and methods together can tell is wrong with a spec."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from orchestrator.api import faults
from orchestrator.spec.loading import load

SPEC = {"name": "t", "data": "digits", "model": "convnet", "recipe": {"epochs": 2}, "methods": ["snip"]}

NETS = """
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

def frozen(num_classes):
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Linear(8, num_classes))
    net[1].weight.requires_grad = False
    return net

def normed(num_classes):
    return nn.Sequential(nn.Flatten(), weight_norm(nn.Linear(64, num_classes)))
"""


def _faults(**changes: Any) -> list[str]:
    return faults(load({**SPEC, "sparsities": [0.9], **changes}))


@pytest.mark.parametrize(("net", "layer"), [("frozen", "1"), ("normed", "1")])
def test_a_layer_that_cannot_be_masked_is_named(
    net: str, layer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "jackpot_odd_nets.py").write_text(NETS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "jackpot_odd_nets", raising=False)
    (said,) = _faults(model=f"jackpot_odd_nets:{net}")
    assert f"the weight of layer {layer!r} is no parameter that trains" in said
    assert "name the layer in prunable.exclude" in said
    if net == "frozen":
        assert _faults(model=f"jackpot_odd_nets:{net}", prunable={"exclude": [layer]}) == []


def test_a_pattern_that_excludes_nothing_is_named_with_the_layers_there_are() -> None:
    assert _faults(prunable={"exclude": ["fc"]}) == []
    (said,) = _faults(prunable={"exclude": ["fc", "conv9"]})
    assert "prunable.exclude[1]: 'conv9' matches no prunable layer; did you mean 'conv" in said
    assert said.endswith("layers: conv1, conv2, conv3, fc")


def test_a_ticket_rewound_to_the_end_is_refused() -> None:
    (said,) = _faults(methods=[{"name": "lottery", "rewind_to": "2ep"}])
    assert "rewind_to: 2ep is the schedule's end" in said


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"batch": 1296}, "recipe.batch: 1296 is more than the 1295 training images; lower it"),
        ({"schedule": {"warmup": "2ep"}},
         "recipe.schedule.warmup: 2ep is not shorter than the training of 2 epochs; shorten it"),
        ({"schedule": {"name": "cosine", "warmup": "42it"}},
         "recipe.schedule.warmup: 42it is not shorter than the training of 2 epochs; shorten it"),
        ({"augmentation": {"crop": 9}},
         "recipe.augmentation.crop: 9 is more than the 8 pixels of an image's side; lower it"),
    ],
)  # fmt: skip
def test_a_recipe_that_does_not_go_with_the_images_is_refused(recipe: dict[str, Any], message: str) -> None:
    (said,) = _faults(recipe={"epochs": 2, **recipe})
    assert message in said


def test_a_recipe_at_the_bounds_is_allowed() -> None:
    bounds = {"epochs": 2, "schedule": {"warmup": "41it"}, "augmentation": {"crop": 8}}
    assert _faults(recipe=bounds) == []
    assert _faults(recipe={"epochs": 1, "batch": 1295}) == []


def test_a_scoring_batch_larger_than_the_smallest_class_is_refused() -> None:
    assert _faults(methods=[{"name": "snip", "per_class": 125}]) == []
    (said,) = _faults(methods=[{"name": "snip", "per_class": [125, 126]}])
    assert "methods[0]: snip-per_class126 on convnet at sparsity 0.9: per_class: 126 is more than the 125" in said
