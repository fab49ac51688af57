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
