"""What only networks, data and methods together can tell is wrong with a spec."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from orchestrator.api import faults
from orchestrator.engine.data import load_data
from orchestrator.engine.nets import build
from orchestrator.spec.data import Digits
from orchestrator.spec.loading import load
from orchestrator.spec.models import Model

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


def test_all_that_is_wrong_is_said_at_once() -> None:
    said = _faults(
        model=["convnet", "resnet21"],
        recipe={"epochs": 2, "batch": 5000, "augmentation": {"crop": 9}},
        methods=[{"name": "lottery", "rewind_to": "50ep"}, {"name": "snip", "per_class": 999}],
        prunable={"exclude": ["nosuch"]},
        sparsities=[0.9, 0.999999],
    )
    wanted = (
        "model[1].name: unknown model 'resnet21'", "recipe.batch: 5000", "recipe.augmentation.crop: 9",
        "methods[0]: lottery-50ep on convnet at sparsity 0.9: cannot train until 50ep", "methods[1]: snip-per_class999",
        "prunable.exclude[0]: 'nosuch' matches", "sparsities[1]: keeps none of the 23,824 prunable weights of convnet",
    )  # fmt: skip
    assert len(said) == len(wanted)
    for words in wanted:
        assert any(words in line for line in said), words


def test_patterns_that_exclude_all_and_nothing_are_both_named() -> None:
    said = _faults(prunable={"exclude": ["nosuch", "*"]})
    assert len(said) == 2
    assert "'nosuch' matches no prunable layer" in "".join(said)
    assert "leaves no layer of convnet to prune" in "".join(said)


def test_two_weights_files_of_one_name_are_refused(tmp_path: Path) -> None:
    state = build(Model(name="convnet"), 10, (1, 8, 8), seed=0).state_dict()
    models = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        torch.save(state, tmp_path / folder / "w.pt")
        models.append({"name": "convnet", "weights": str(tmp_path / folder / "w.pt")})
    (said,) = _faults(model=models)
    assert "model[1]: would be called 'convnet-w' like another network; rename its weights file" in said


def test_a_network_of_a_programs_own_main_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys.modules["__main__"],
        "net",
        lambda num_classes: nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes)),
        raising=False,
    )
    monkeypatch.setattr(sys.modules["__main__"], "__spec__", None)
    said = _faults(model="__main__:net")
    assert "a network's source must be a .py file" in "".join(said)


@pytest.mark.parametrize("batch", [1, 647])
def test_one_image_left_over_is_refused_where_a_network_cannot_train_on_it(batch: int) -> None:
    assert len(load_data(Digits()).train.labels) == 2 * 647 + 1
    (said,) = _faults(
        model=["resnet18_cifar", "convnet", "lenet5"], recipe={"epochs": 2, "batch": batch}, methods=["dense"]
    )
    assert (
        "recipe.batch: leaves one image for the last step of an epoch, on which 'resnet18_cifar' cannot train" in said
    )
    assert _faults(model="resnet18_cifar", recipe={"epochs": 2, "batch": 64}) == []
